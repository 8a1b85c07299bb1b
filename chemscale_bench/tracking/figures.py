"""The figures of one run, live in the MLflow UI."""

from __future__ import annotations

from plotly.graph_objects import Figure, Scatter

# Okabe & Ito's palette: distinct for the colour-blind and in grey.
TRUNK, DECAY, VALIDATION, BASELINE = "#56B4E9", "#0072B2", "#D55E00", "#999999"


def loss_curve(
    title: str, curve: list[tuple[str, int, float]], budgets: dict[int, float], baseline: dict[int, float], unit: str
) -> Figure:
    """Training loss over tokens, the decays that branch off it, and the validation loss at every budget.

    Args:
        title: what was trained.
        curve: (kind, tokens seen, mean training loss), kind `trunk` or `decay`.
        budgets: validation loss by budget.
        baseline: the trigram model's validation loss by budget.
        unit: of the losses.
    """
    figure = Figure()
    trunk = [(step, loss) for kind, step, loss in curve if kind == "trunk"]
    decay: list[tuple[int | None, float | None]] = []
    for kind, step, loss in curve:
        if kind == "decay":
            decay.append((step, loss))
        elif decay and decay[-1][0] is not None:
            decay.append((None, None))  # a gap between two branches
    for name, points, colour, dash in (("training", trunk, TRUNK, "solid"), ("decay", decay, DECAY, "dot")):
        x, y = zip(*points, strict=True) if points else ((), ())
        figure.add_trace(Scatter(x=x, y=y, name=name, mode="lines", line={"color": colour, "dash": dash}))
    for name, values, colour, symbol in (
        ("validation at budget", budgets, VALIDATION, "circle"),
        ("trigram, same tokens", baseline, BASELINE, "x"),
    ):
        marker = {"color": colour, "symbol": symbol, "size": 10}
        figure.add_trace(Scatter(x=list(values), y=list(values.values()), name=name, mode="markers", marker=marker))
    figure.update_layout(
        title=title, template="plotly_white", xaxis_title="tokens seen", yaxis_title=f"loss ({unit})",
        xaxis_type="log", legend={"yanchor": "top", "xanchor": "right", "x": 1, "y": 1},
    )  # fmt: skip
    return figure


def error_curve(title: str, curve: list[tuple[int, float]], test: float, nothing: float, last: int) -> Figure:
    """Validation force error over the frames seen, and the test error of the best weights.

    Args:
        title: what was trained.
        curve: (frames seen, validation force MAE in meV/Angstrom).
        test: force MAE on the test split, meV/Angstrom.
        nothing: that of a model that predicts no force.
        last: frames seen at the end.
    """
    figure = Figure()
    x, y = zip(*curve, strict=True) if curve else ((), ())
    figure.add_trace(Scatter(x=x, y=y, name="validation", mode="lines", line={"color": DECAY}))
    for name, value, colour, symbol in (
        ("test, best weights", test, VALIDATION, "circle"),
        ("zero force", nothing, BASELINE, "x"),
    ):
        marker = {"color": colour, "symbol": symbol, "size": 10}
        figure.add_trace(Scatter(x=[last], y=[value], name=name, mode="markers", marker=marker))
    figure.update_layout(
        title=title, template="plotly_white", xaxis_title="frames seen", yaxis_title="force MAE (meV/Å)",
        xaxis_type="log", yaxis_type="log", legend={"yanchor": "top", "xanchor": "right", "x": 1, "y": 1},
    )  # fmt: skip
    return figure


def to_html(figure: Figure) -> str:
    """A page that opens without a network, in MLflow's view of artifacts or downloaded: plotly's script is inside.

    MLflow's own `log_figure` links the script from an address.
    """
    page: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return page
