"""Sets of function names, by the rule for the relevance at a call of the function.

Names are without the underscores of in-place and special methods. A function in none of these sets
has no rule, such as softmax, normalisation by the statistics of the input, and the product of two
activations.
"""

__all__ = ["CONVOLUTIONS", "DENSE", "PASSED", "ROUTED", "SCALED", "SUMMED", "TRANSPOSED"]

# Weighted sums, for which the explainer chooses the rule.
TRANSPOSED = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"}) | TRANSPOSED
DENSE = "linear"

# Elementwise functions: the relevance is passed on unchanged (Bach 2015).
PASSED = frozenset(
    {
        *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu"),
        *("mish", "hardswish", "softplus", "sigmoid", "hardsigmoid", "log_sigmoid", "logsigmoid"),
        *("tanh", "hardtanh", "tanhshrink", "softsign", "softshrink", "hardshrink", "threshold"),
        *("clamp", "clamp_min", "clamp_max", "clip"),
    }
)

# Sums and means with fixed weights: the relevance is divided in proportion to the summands.
SUMMED = frozenset(
    {
        *("add", "iadd", "radd", "sub", "isub", "rsub", "subtract"),
        *("mean", "sum", "interpolate", "upsample"),
        *("avg_pool1d", "avg_pool2d", "avg_pool3d"),
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    }
)

# Multiplication with a constant, division by a constant, or a change of sign.
SCALED = frozenset(
    {
        *("mul", "imul", "rmul", "multiply", "neg", "negative"),
        *("div", "idiv", "truediv", "itruediv", "divide", "true_divide"),
    }
)

# Each output value is one of the input values: the gradient, ones and zeros, moves the relevance.
ROUTED = frozenset(
    {
        *("reshape", "reshape_as", "view", "view_as", "flatten", "unflatten", "ravel", "squeeze"),
        *("unsqueeze", "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"),
        *("t", "get", "contiguous", "clone", "alias", "cat", "concat", "concatenate", "stack"),
        *("hstack", "vstack", "split", "split_with_sizes", "chunk", "tensor_split", "unbind"),
        *("getitem", "setitem", "select", "narrow", "index_select", "copy", "pad", "expand"),
        *("expand_as", "repeat", "tile", "repeat_interleave", "roll", "flip", "unfold"),
        *("broadcast_to", "broadcast_tensors", "where", "masked_fill"),
        *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
        *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"),
        *("feature_dropout", "feature_alpha_dropout"),
        *("max_pool1d", "max_pool2d", "max_pool3d", "max_pool1d_with_indices"),
        *("max_pool2d_with_indices", "max_pool3d_with_indices", "adaptive_max_pool1d"),
        *("adaptive_max_pool2d", "adaptive_max_pool3d", "adaptive_max_pool1d_with_indices"),
        *("adaptive_max_pool2d_with_indices", "adaptive_max_pool3d_with_indices"),
        *("max", "amax", "maximum", "min", "amin", "minimum"),
        *("requires_grad", "to", "type", "type_as", "float", "double", "cpu", "cuda"),
    }
)
