"""Dashboard "Training": how far is a run, does it learn, what happens around its steps?"""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from infra.monitoring.panels import RUN, TRAIN_RUN, Bounds, Panel, Query, chart, choice, dashboard, figure, of_run

STEP = f"max by (run) (ray_vlm3_train_step{{{RUN}}})"
STEPS = f"max by (run) (ray_vlm3_train_total_steps{{{RUN}}})"
STEPS_PER_S = f"max by (run) (deriv(ray_vlm3_train_step{{{RUN}}}[10m]))"


def build() -> Dashboard:
    """The dashboard."""
    about = "Steps of the runs. Scores, samples and answers are in MLflow."
    rows = {"Progress": _progress(), "Learning": _learning(), "Around the steps": _around()}
    return dashboard("vlm3-training", "VLM3 training", about, choice("run", "Run", "ray_vlm3_train_step", "run"), rows)


def _progress() -> list[Panel]:
    return [
        figure("Step", "Steps done.", "none", Query(STEP, "{{run}}")),
        figure("Done", "Share of all steps.", "percentunit", Query(f"{STEP} / {STEPS}", "{{run}}")),
        figure(
            "Time left",
            "At the pace of the last 10 minutes; evaluations and checkpoints are counted, the final ones are not.",
            "s",
            Query(f"({STEPS} - {STEP}) / {STEPS_PER_S}", "{{run}}"),
        ),
        figure("Loss", "Of the last step.", "none", of_run("train_loss", "{{run}}")),
        figure("Samples per second", "Of the last step.", "suffix: /s", of_run("data_samples_per_s", "{{run}}")),
        figure(
            "Waits for data",
            "Share of a step in which the trainer had nothing to do: see the dashboard Data plane.",
            "percentunit",
            of_run("data_wait_share", "{{run}}"),
            bounds=Bounds(0.1),
        ),
    ]


def _learning() -> list[Panel]:
    return [
        chart("Loss", "Mean over the answer tokens of a step.", "none", of_run("train_loss", "{{run}}")),
        chart(
            "Loss by component",
            "Mean over the answer tokens of 10 steps.",
            "none",
            Query(f"max by (run, component) (ray_vlm3_mixture_loss{{{RUN}}})", "{{run}} {{component}}"),
        ),
        chart(
            "Norm of the gradient",
            "Before it is clipped. If it grows and grows, lower the learning rate.",
            "none",
            of_run("train_grad_norm", "{{run}}"),
            width=8,
        ),
        chart("Learning rate", "Of the last step.", "sci", of_run("train_learning_rate", "{{run}}"), width=8),
        chart(
            "Answer tokens in a step",
            "What the loss is a mean over.",
            "short",
            of_run("train_answer_tokens", "{{run}}"),
            width=8,
        ),
    ]


def _around() -> list[Panel]:
    return [
        figure(
            "Ray Train",
            "What its controller does.",
            "none",
            Query(
                f"max by (ray_train_run_name, ray_train_controller_state)"
                f" (ray_train_controller_state{{{TRAIN_RUN}}} == 1)",
                "{{ray_train_run_name}} {{ray_train_controller_state}}",
            ),
            width=8,
            named=True,
            texts={1: "is"},
        ),
        chart(
            "Seconds spent on checkpoints",
            "Since the start of the workers, of the worker that spent most: training stands still meanwhile. All of"
            " it, and the part that copies files to the folder of the run.",
            "s",
            _of_train("report_total_blocked_time_s", "{{ray_train_run_name}} all"),
            _of_train("checkpoint_transfer_total_time_s", "{{ray_train_run_name}} copying"),
            width=8,
        ),
        chart(
            "Seconds spent on starting workers",
            "Of each start of the run: a second curve is a second start, see the alert TrainingStartsAgain.",
            "s",
            Query(
                "max by (ray_train_run_name, ray_train_run_id)"
                f" (ray_train_worker_group_start_total_time_s{{{TRAIN_RUN}}})",
                "{{ray_train_run_name}} {{ray_train_run_id}}",
            ),
            width=8,
        ),
    ]


def _of_train(metric: str, legend: str) -> Query:
    """A figure that Ray Train keeps for each worker."""
    return Query(f"max by (ray_train_run_name) (ray_train_{metric}{{{TRAIN_RUN}}})", legend)
