"""Benches are made once per subject, and errors of their factories are verdicts."""

import pytest

SELECT = ("--xai", "--xai-select=told")


def row_of(payload, explainer):
    (row,) = [row for row in payload["results"] if row["explainer"] == explainer]
    return row


def test_a_factory_is_called_once_and_its_error_is_a_verdict(told, report):
    told.makepyfile(
        my_model=(told.path / "my_model.py").read_text()
        + "\n\ndef load_subject():\n    made.append(1)\n    raise OSError('no data here')\n",
        test_it="import my_model\n\ndef test_made(): assert len(my_model.made) == 1",
    )
    payload = report("--xai-select=told", "xai::net", "test_it.py", "-p", "no:randomly")
    assert payload["summary"]["outcomes"]["error"] == 5
    reason = row_of(payload, "passes")["reason"]
    assert reason.startswith("subject 'net' cannot be made: OSError: no data here\nTraceback")


def test_the_factory_is_called_once(told, add_to_conftest):
    add_to_conftest("""
        def pytest_sessionfinish():
            import my_model

            print(f"made {len(my_model.made)} times")
    """)
    told.runpytest(*SELECT, "-s").stdout.fnmatch_lines(["*made 1 times"])


@pytest.mark.parametrize("returned", ["None", "3"])
def test_a_factory_that_returns_something_else_is_an_error(told, report, returned):
    told.makepyfile(
        my_model=(told.path / "my_model.py").read_text()
        + f"\n\ndef load_subject():\n    return {returned}\n"
    )
    payload = report("xai::net::passes::told")
    assert "expected a pytest_xai.Subject" in payload["results"][0]["reason"]


def test_a_subject_has_its_registered_name_and_its_model_back_afterwards(told, add_to_conftest):
    add_to_conftest("""
        subject = load_subject()
        subject.model.train()

        def pytest_xai_register(registry):
            registry.subject("same", subject)
            registry.explainer("passes", gradient)

        def pytest_configure(config):
            config.add_cleanup(lambda: print(subject.name, subject.model.training))
    """)
    result = told.runpytest(*SELECT, "-s")
    result.stdout.fnmatch_lines(["same: complexity", "Sequential True"])


def test_benches_on_one_model_do_not_see_each_other(told, add_to_conftest):
    add_to_conftest("""
        SUBJECT = load_subject()

        def pytest_xai_register(registry):
            registry.subject("net", SUBJECT)
            registry.subject("twin", SUBJECT)
            registry.explainer("passes", gradient)

        def pytest_collection_modifyitems(items):
            items.sort(key=lambda item: item.name)
    """)
    told.makepyfile(
        test_it="""
        import pytest
        from conftest import SUBJECT
        from my_model import gradient
        from pytest_xai import parametrize_with_checks

        @pytest.mark.parametrize("once", ["a", "z"])
        def test_hand(xai_check, once):
            spent = xai_check(gradient, "side_effects", SUBJECT).evaluations
            assert spent.forward == spent.backward == spent.explainer_calls

        @parametrize_with_checks([gradient], subject=SUBJECT, checks=["side_effects", "shape"])
        def test_parameters(check):
            check()
        """
    )
    result = told.runpytest("--xai", "--xai-select=side_effects,shape")
    result.assert_outcomes(passed=8)
