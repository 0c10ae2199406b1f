"""Which measurement in the history tells what a model loses."""

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.measure.fidelity_verdict import saved_fidelity
from paragone_workbench.store.votes import Measurement


def engine(name, *, model=None, backend="paper"):
    return EngineDefinition(name=name, backend=backend, model=model or f"/m/{name}.gguf")


def measured(*engines, kld, **more):
    figures = {"mean_kld": kld, "mean_kld_se": 0.01, "top1_agreement": 0.8, **more}
    return Measurement(
        kind="fidelity",
        engines=engines,
        data={"candidates": [{"engine": it.name, **figures} for it in engines[1:]]},
        created=5.0,
    )


LARGE, SMALL, OTHER = engine("large"), engine("small"), engine("other")


def test_the_newest_measurement_of_the_model_is_used():
    found = saved_fidelity(
        [
            measured(LARGE, OTHER, kld=0.1),
            measured(OTHER, LARGE, SMALL, kld=0.2),
            measured(LARGE, SMALL, kld=0.3),
        ],
        "paper",
        SMALL.model,
    )
    assert found is not None
    figures, measurement = found
    assert [figures[name] for name in ("mean_kld", "mean_kld_se", "top1_agreement")] == [0.2, 0.01, 0.8]
    assert (measurement.engines[0].name, measurement.created) == ("other", 5.0)


def test_another_spelling_of_the_path_is_the_same_model(home):
    renamed = engine("renamed", model="~/m/small.gguf")
    found = saved_fidelity([measured(LARGE, renamed, kld=0.2)], "paper", str(home / "m" / "small.gguf"))
    assert found is not None


def test_measurements_of_other_models_or_settings_are_ignored():
    cached = engine("small with another cache", model=SMALL.model)
    elsewhere = engine("small", backend="ink")
    measurements = [
        measured(SMALL, LARGE, kld=0.2),  # as a reference
        measured(SMALL, cached, kld=0.2),  # against itself
        measured(LARGE, elsewhere, kld=0.2),  # in another backend
        measured(LARGE, SMALL, kld=None),  # another vocabulary
    ]
    assert saved_fidelity(measurements, "paper", SMALL.model) is None
    unsure = measured(LARGE, SMALL, kld=0.5, mean_kld_se=None, top1_agreement=None)
    assert saved_fidelity([*measurements, unsure], "paper", SMALL.model) == (
        unsure.data["candidates"][0],
        unsure,
    )
