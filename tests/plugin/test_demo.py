"""The demo: bundled subjects and explainers instead of what is registered."""


def test_the_demo_runs_in_any_folder_and_instead_of_what_is_registered(repo, collected):
    found = collected("--xai-demo", "--xai-select=shape")
    assert "xai::digits::saliency::shape" in found
    assert not any(i.startswith("xai::net") for i in found)
    assert found == collected("--xai", "--xai-demo", "--xai-select=shape")
