"""Dashboard "Data plane": does the trainer get its samples in time, and those that the mixture asks for?"""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from infra.monitoring.panels import RUN, SESSION, Bounds, Panel, Query, chart, choice, dashboard, figure, of_run

WAIT = Bounds(0.1)
"""As of the alert TrainingWaitsForData."""


def build() -> Dashboard:
    """The dashboard."""
    about = "From the object store to the trainer: docs/scale.md says how to size it."
    rows = {
        "Does the trainer wait?": _trainer(),
        "Reading and decoding": _store(),
        "Between the stages": _stages(),
        "Mixture": _mixture(),
    }
    return dashboard(
        "vlm3-data-plane", "VLM3 data plane", about, choice("run", "Run", "ray_vlm3_train_step", "run"), rows
    )


def _trainer() -> list[Panel]:
    waiting, rate = of_run("data_wait_share", "{{run}}"), of_run("data_samples_per_s", "{{run}}")
    about_waiting = "Share of a step in which the trainer had nothing to do. It should be near 0."
    return [
        figure("Waits for data", about_waiting, "percentunit", waiting, width=6, bounds=WAIT),
        figure("Samples per second", "Of the last step.", "suffix: /s", rate, width=6),
        figure(
            "Samples replaced so far",
            "Bad samples, each replaced by the next of its component; quarantine.parquet of the run names them.",
            "short",
            of_run("data_replaced_total", "{{run}}"),
            width=6,
        ),
        figure(
            "Objects on disk",
            "Bytes that the object stores have spilled. The stream needs none: see the alert ObjectStoreSpills.",
            "bytes",
            Query(f'sum(ray_object_store_memory{{{SESSION},Location="SPILLED"}})', "spilled"),
            width=6,
            bounds=Bounds(1),
        ),
        chart("Share of a step spent waiting for data", about_waiting, "percentunit", waiting, bounds=WAIT),
        chart("Samples per second", "Over all workers.", "suffix: /s", rate),
    ]


def _store() -> list[Panel]:
    return [
        chart(
            "Time for a sample",
            "Summed over tasks. Where reading is longer: stream.read.tasks, stream.read.ahead; decoding: more CPUs.",
            "ms",
            of_run("data_read_ms_per_sample", "{{run}} reading"),
            of_run("data_decode_ms_per_sample", "{{run}} decoding"),
        ),
        chart("Read from the store", "Bytes.", "Bps", of_run("data_bytes_per_s", "{{run}}")),
        chart("Requests to the store", "One for each clip.", "reqps", of_run("data_requests_per_s", "{{run}}")),
        chart(
            "Requests repeated in a step",
            "A store that is slow or refuses is asked again, at most 8 times; then the run stops.",
            "short",
            of_run("data_retries", "{{run}}"),
        ),
    ]


def _stages() -> list[Panel]:
    def blocks(queue: str) -> str:
        return f"sum by (dataset, operator) (ray_data_num_external_{queue}_blocks{{{SESSION}}})"

    return [
        chart(
            "Parcels that wait for a stage",
            "Of Ray Data, by the stage that takes them: where they pile up is what limits the stream.",
            "short",
            Query(blocks("inqueue"), "{{dataset}} {{operator}} in"),
            Query(blocks("outqueue"), "{{dataset}} {{operator}} out"),
        ),
        chart(
            "Gaps in the consumed positions",
            "Intervals beyond the first gap that a checkpoint must list. Many mean that some parcel is very late.",
            "short",
            of_run("data_open_intervals", "{{run}}"),
        ),
    ]


def _mixture() -> list[Panel]:
    component = "{{run}} {{component}}"
    return [
        chart(
            "Share of the samples, asked and realised",
            "Realised: mean of the steps of 5 minutes. A single step is off by up to one sample.",
            "percentunit",
            Query(f"max by (run, component) (ray_vlm3_mixture_asked{{{RUN}}})", f"{component} asked"),
            Query(
                f"max by (run, component) (avg_over_time(ray_vlm3_mixture_realised{{{RUN}}}[5m]))",
                f"{component} realised",
            ),
        ),
        chart("Epochs", "How often a component was seen.", "short", of_run("mixture_epochs", component, "component")),
        chart(
            "Samples per second by component",
            "Of the last step.",
            "suffix: /s",
            of_run("mixture_samples_per_s", component, "component"),
        ),
        chart(
            "Samples replaced by component",
            "Where one component has most of them, python jobs/doctor.py says what is wrong with its source.",
            "short",
            of_run("mixture_replaced_total", component, "component"),
        ),
    ]
