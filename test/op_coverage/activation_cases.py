"""Activations, losses and normalizations of ``torch.nn.functional``."""

from __future__ import annotations

from test.op_coverage.case import FLOATS, INTEGERS, ZERO_SIGN, Case
from test.op_coverage.pointwise_cases import cases


def activations() -> list[Case]:
    """Pointwise activations; those that make inf - inf of inf take finite values."""
    family = "activations"
    names = """silu mish elu selu celu leaky_relu softplus softsign tanhshrink hardtanh
        hardswish hardsigmoid hardshrink logsigmoid sigmoid tanh"""
    found = cases(family, FLOATS, *(f"F.{name}(x)" for name in names.split()))
    zero = ["F.relu(x)", "F.relu6(x)", "x.relu()", "torch.relu(x)", "F.softshrink(x)"]
    zero += ["F.softshrink(x, 1.0)"]
    found += cases(family, FLOATS, *zero, **ZERO_SIGN)
    return (
        found
        + cases(
            family,
            FLOATS,
            "F.gelu(g)",
            'F.gelu(g, approximate="tanh")',
            "F.relu6(g * 4)",
            "F.elu(x, alpha=0.5)",
            "F.celu(x, alpha=0.5)",
            "F.leaky_relu(x, 0.2)",
            "F.softplus(x, beta=2, threshold=3)",
            "F.hardtanh(x, -2.0, 1.5)",
            "F.hardshrink(x, 1.0)",
            "F.threshold(x, 0.5, 2.0)",
            "F.prelu(x, row)",
            "F.rrelu(x)",
            "torch.selu(x)",
            "torch.celu(x)",
            "x.sigmoid()",
            "x.tanh()",
            "torch.prelu(x, row)",
            "F.dropout(x, 0.5, training=False)",
        )
        + cases(family, INTEGERS, "F.relu(g)", "F.relu6(g)", "F.hardtanh(g, -2, 3)")
    )


def losses() -> list[Case]:
    """Losses of all reductions; log_softmax and gather stand for cross entropy."""
    family = "losses"
    found: list[Case] = []
    pairs = {
        "mse_loss": "g, y",
        "l1_loss": "g, y",
        "smooth_l1_loss": "g, n",
        "huber_loss": "g, n",
        "kl_div": "g, u",
        "binary_cross_entropy": "u, u * u",
        "binary_cross_entropy_with_logits": "g, u",
        "soft_margin_loss": "g, n.sign()",
        "poisson_nll_loss": "g, p",
        "hinge_embedding_loss": "g, n.sign()",
    }
    for name, args in pairs.items():
        found += cases(family, FLOATS, f'F.{name}({args}, reduction="none")')
        for reduction in ("mean", "sum"):
            finite = args.replace("y", "n")
            text = f'F.{name}({finite}, reduction="{reduction}")'
            found += cases(family, FLOATS, text, layout="whole", scale=4)
    found += cases(
        family,
        FLOATS,
        "F.smooth_l1_loss(g, n, beta=0.5, reduction='none')",
        "F.huber_loss(g, n, delta=0.5, reduction='none')",
        "F.kl_div(g, g - 1, log_target=True, reduction='none')",
        "F.gaussian_nll_loss(g, n, p, reduction='none')",
        "F.binary_cross_entropy_with_logits(g, u, pos_weight=row, reduction='none')",
        "F.margin_ranking_loss(g, n, p.sign(), reduction='none')",
    )
    return found + cases(
        family,
        FLOATS,
        "F.kl_div(g, u, reduction='batchmean')",
        "F.nll_loss(g, c)",
        "F.nll_loss(g, c, reduction='sum')",
        "F.nll_loss(g, c, reduction='none')",
        "F.cross_entropy(g, c)",
        "F.cross_entropy(g, c, reduction='none')",
        "F.cross_entropy(g, c, label_smoothing=0.1)",
        "F.cross_entropy(g, u)",
        "F.nll_loss(g, c, weight=row.abs())",
        "F.nll_loss(g, c, ignore_index=1)",
        "F.cosine_embedding_loss(g, n, c.sign())",
        "F.triplet_margin_loss(g, n, p)",
        "F.multi_margin_loss(g, c)",
        "F.multilabel_soft_margin_loss(g, m.to(g.dtype))",
        layout="whole",
        scale=4,
    )


def normalizations() -> list[Case]:
    """Softmaxes and norms along rows."""
    family = "normalizations"
    found = cases(
        family,
        FLOATS,
        "F.softmax(x, -1)",
        "F.softmax(g, 1)",
        "F.log_softmax(x, -1)",
        "F.softmin(g, -1)",
        "torch.softmax(g, -1)",
        "g.softmax(-1)",
        "g.log_softmax(1)",
        "F.softmax(g, -1, dtype=torch.float32)",
        "torch.log_softmax(g, -1)",
        "F.normalize(g, dim=-1)",
        "F.normalize(g, p=1.0, dim=1)",
        "F.layer_norm(g, [7])",
        "F.layer_norm(g, [7], row)",
        "F.layer_norm(g, [7], row, row + 1)",
        "F.layer_norm(g, [7], eps=0.1)",
        "F.rms_norm(g, [7])",
        "F.rms_norm(g, [7], row)",
        "F.rms_norm(g, [7], row, 1e-3)",
        "F.cosine_similarity(g, n, dim=-1)",
        "F.pairwise_distance(g, n)",
        "torch.cosine_similarity(g, n, dim=1)",
        layout="rows",
        scale=4,
    )
    return found + cases(
        family,
        FLOATS,
        "F.softmax(g, 0)",
        "F.log_softmax(g, 0)",
        "F.normalize(g, dim=0)",
        "F.group_norm(g, 1)",
        "F.group_norm(g, 7)",
        "F.layer_norm(g, [5, 7])",
        "F.instance_norm(g.unsqueeze(0))[0]",
        "F.batch_norm(g, row, row.abs() + 1)",
        "F.batch_norm(g, row, row.abs() + 1, row, row)",
        "F.glu(torch.cat([g, n], 1), 1)",
        layout="whole",
        scale=4,
    )


CASES = [*activations(), *losses(), *normalizations()]
