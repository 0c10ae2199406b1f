"""Write energy and money as text."""

from __future__ import annotations

from paragone_workbench.runs.costs import Costs


def energy_text(costs: Costs) -> str:
    """Return the energy of runs, such as `12.3 kJ`, with a `+` if the energy of some runs is unknown."""
    if not costs.measured:
        return "unknown"
    more = "+" if costs.measured < costs.runs else ""
    if costs.joules >= 1e6:
        return f"{costs.joules / 1e6:,.1f} MJ{more}"
    return f"{costs.joules / 1e3:,.1f} kJ{more}" if costs.joules >= 1e3 else f"{costs.joules:,.1f} J{more}"


def usd_text(dollars: float) -> str:
    """Return a sum of money, rounded to the cent, or below 10 cents to a ten-thousandth of a cent."""
    if dollars >= 0.1 or not dollars:
        return f"${dollars:,.2f}"
    return f"${dollars:.6f}" if dollars >= 1e-6 else "under $0.000001"
