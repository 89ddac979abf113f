"""A tiny model, untrained and briefly trained, and the stock way of asking it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vlm3.asking.protocol import Conversation, Turn
from vlm3.models.load import ModelConfig, load_model, resolve_model
from vlm3.models.segment_attention import segment_attention
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tokens.batch import collate
from vlm3.tokens.encode import ConversationEncoder
from vlm3.tokens.patches import patchify
from vlm3.tokens.step_row import StepRow
from vlm3.tokens.vision import VisionSpec

TIE = 2e-4
"""Two tokens whose logits, of about 12, differ by less are as likely: rounding moves logits by 2e-5, and how depends on
the processor and on what else is in the batch."""
TASK = DepthTask(DepthTaskConfig(reference_range=100, decimals=1, templates="compact-1"))


@dataclass(frozen=True)
class Asked:
    """A model with its encoder."""

    directory: Path
    model: Any
    encoder: ConversationEncoder
    vision: VisionSpec

    @classmethod
    def of(cls, directory: Path) -> "Asked":
        model = load_model(directory, ModelConfig())
        return cls(
            directory, model, ConversationEncoder.from_directory(directory), VisionSpec.from_directory(directory)
        )

    def stock(self, images: Sequence[np.ndarray], questions: Sequence[str], max_new_tokens: int) -> list[set[str]]:
        """The stock generate on each full prompt, one at a time: the answers it may give, as a rule one a question."""
        pixel_values, grid = patchify([torch.from_numpy(image) for image in images], self.vision)
        sizes = [image.shape[:2] for image in images]
        found = []
        for question in questions:
            ids = torch.from_numpy(self.encoder.encode_question(question, sizes)).long()
            answers = self.likeliest(ids, [], max_new_tokens, pixel_values=pixel_values, image_grid_thw=grid)
            found.append({self.encoder.decode(tokens) for tokens in answers})
        return found

    def likeliest(
        self, prompt: torch.Tensor, said: list[int], max_new_tokens: int, **visual: torch.Tensor
    ) -> list[list[int]]:
        """Greedy answers that begin as `said`; at a tie both go on."""
        stops = {self.encoder.end_of_turn_id, *self.model.generation_config.eos_token_id}
        if len(said) == max_new_tokens or (said and said[-1] in stops):
            return [said]
        ids = torch.cat([prompt, torch.tensor(said, dtype=torch.long)])[None]
        out = self.model.eval().generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == self.vision.image_token_id).int(),
            do_sample=False,
            max_new_tokens=max_new_tokens - len(said),
            output_logits=True,
            return_dict_in_generate=True,
            **visual,
        )
        told = said + out.sequences[0, ids.shape[1] :].tolist()
        answers = [told]
        for place, logits in enumerate(out.logits, start=len(said)):
            (first, second), tokens = logits[0].topk(2)
            if first - second < TIE:
                other = next(token for token in tokens.tolist() if token != told[place])
                answers += self.likeliest(prompt, [*told[:place], other], max_new_tokens, **visual)
        return answers


def _picture(height: int, width: int, seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).uniform(0, 255, (height // 16, width // 16, 3))
    return np.kron(coarse, np.ones((16, 16, 1))).astype(np.uint8)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Where other processes use the cores, threads of a small product wait for each other longer than they compute."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def picture() -> Callable[[int, int, int], np.ndarray]:
    """(height, width, seed) → smooth random colours, so that places look different."""
    return _picture


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resolve_model(ModelConfig(), tmp_path_factory.mktemp("models"), seed=0)


@pytest.fixture(scope="session")
def untrained(tiny_dir: Path) -> Asked:
    """Weights four times as wide as a fresh model's, so that its answers depend on the question."""
    made = Asked.of(tiny_dir)
    with torch.no_grad():
        for parameter in made.model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return made


@pytest.fixture(scope="session")
def trained(tiny_dir: Path) -> Asked:
    """Eighty steps on "depth is the column and the brightness there": enough for numbers of several lengths."""
    made = Asked.of(tiny_dir)
    # With an epsilon below rounding, gradients that are only rounding would move weights as the processor likes.
    optimizer = torch.optim.AdamW(made.model.parameters(), lr=2e-3, eps=1e-4)
    rng = np.random.default_rng(0)
    for step in range(80):
        rows = []
        for index in range(8):
            image = _picture(48, 64, 8 * step + index)
            turns = []
            for x, y in rng.uniform((0, 0), (64, 48), (6, 2)):
                depth_m = x / 4 + image[int(y), int(x)].mean() / 100
                turns.append(Turn(TASK.question((x, y), (64, 48), 40.0), f"{depth_m:.1f}"))
            encoded = made.encoder.encode(Conversation(tuple(turns)), [image.shape[:2]])
            rows.append(StepRow(index, 0, 0, encoded.input_ids, encoded.loss_mask, (image,)))
        inputs = collate(rows, made.vision).to_model_inputs(torch.device("cpu"))
        with segment_attention(made.model):
            made.model(**inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_(made.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return made
