"""The room of the correspondence task."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.items import Item, PairItem
from vlm3.asking.predictions import Predictions, statuses
from vlm3.asking.predictor import Predictor
from vlm3.asking.room import Listing
from vlm3.asking.tables import repeated, sizes, texts_of
from vlm3.scenes.schema import Frame
from vlm3.tasks.correspondence.answering import answer_correspondence
from vlm3.tasks.correspondence.table import CorrespondenceTable
from vlm3.tasks.correspondence.task import AskedCorrespondence
from vlm3.tasks.correspondence.templates import CorrespondenceTemplates

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CorrespondenceRoom:
    """Places in image 2 of points of image 1."""

    asked = AskedCorrespondence
    trained_by_default = False
    templates = CorrespondenceTemplates
    table = CorrespondenceTable

    def shown(self, item: Item) -> tuple[Frame, ...]:
        """Both images of a pair with points."""
        return (item.frame1, item.frame2) if isinstance(item, PairItem) and len(item.points1_px) else ()

    def answer(self, predictor: Predictor, asked: AskedCorrespondence, item: Item) -> CorrespondenceTable | None:
        """Places of the item's points; hidden points are asked about only if the model was trained to answer that."""
        if not isinstance(item, PairItem):
            return None
        chosen = np.isfinite(item.points2_px[:, 0]) | (asked.ask.hidden_points == "ask")
        if not chosen.any():
            return None
        answers = answer_correspondence(
            predictor,
            (item.frame1.encoded_image, item.frame2.encoded_image),
            (item.frame1.camera, item.frame2.camera),
            item.points1_px[chosen],
            item.id,
        )
        predicted = np.array([answer.point2_px or (np.nan, np.nan) for answer in answers]).reshape(-1, 2)
        return correspondence_table(item, chosen, predicted, [a.text for a in answers], [a.status for a in answers])

    def predicted(self, predictions: Predictions, item: Item) -> CorrespondenceTable | None:
        """Table of predictions, which are places of the points in image 2 or a dense flow."""
        if not isinstance(item, PairItem) or not len(item.points1_px):
            return None
        found = predictions.find(item.id, CorrespondenceTable.task)
        seen = np.isfinite(item.points2_px[:, 0])
        values = found.at_points(item.points1_px, item.frame1.camera, 2)
        # A dense map is a flow: the place in image 2 minus the place in image 1.
        predicted2_px = (values if found.size is None else item.points1_px + values)[seen]
        predicted2_px[np.isnan(predicted2_px).any(axis=1)] = np.nan
        return correspondence_table(item, seen, predicted2_px, [""] * int(seen.sum()), statuses(predicted2_px[:, 0]))

    def listed(self, item: Item) -> Listing | None:
        """Both images and the points of the first."""
        if not isinstance(item, PairItem) or not len(item.points1_px):
            return None
        return Listing((item.frame1.frame, item.frame2.frame), tuple(item.points1_px.ravel().tolist()))

    def plots(self, table: CorrespondenceTable) -> Iterator[tuple[str, "Figure"]]:
        """No pictures."""
        return iter(())

    def overlay(self, item: Item, table: CorrespondenceTable) -> "Figure | None":
        """Both images with lines between their points."""
        from vlm3.storage.images import decode_rgb
        from vlm3.tasks.correspondence.pictures import match_lines

        if not isinstance(item, PairItem):
            return None
        return match_lines(decode_rgb(item.frame1.encoded_image), decode_rgb(item.frame2.encoded_image), table)


def correspondence_table(
    item: PairItem,
    asked: NDArray[np.bool_],
    predicted2_px: NDArray[np.float64],
    texts: Sequence[str],
    statuses: Sequence[str],
) -> CorrespondenceTable:
    """Table of answers about the `asked` (N,) of an item's points: `predicted2_px` (asked, 2), NaN without a place."""
    count = int(asked.sum())
    return CorrespondenceTable(
        item=repeated(item.id, count),
        group=repeated(item.group, count),
        text=texts_of(texts),
        status=texts_of(statuses),
        point1_px=item.points1_px[asked],
        size1_px=sizes(item.frame1.camera, count),
        true2_px=item.points2_px[asked],
        predicted2_px=predicted2_px,
        size2_px=sizes(item.frame2.camera, count),
    )
