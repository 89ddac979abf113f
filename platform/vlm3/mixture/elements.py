"""The elements (clip, slot) of a component: which one a sample's number stands for, and what replaces it."""

from vlm3.mixture.components import ComponentSize
from vlm3.mixture.permutation import permute
from vlm3.mixture.splitmix import Word, word


def place_of(number: Word, clips: Word, slots: Word, clip_key: Word, slot_key: Word) -> tuple[Word, Word, Word, Word]:
    """(epoch, visit, clip, slot) of a component's sample `number`."""
    visit, turn = number // slots, number % slots
    epoch, index = visit // clips, visit % clips
    return epoch, visit, permute(index, clips, word(clip_key, epoch)), permute(turn, slots, word(slot_key, visit))


def replacement(clip: int, slot: int, attempt: int, size: ComponentSize, key: int) -> tuple[int, int]:
    """(clip, slot) of a position's replacement: number `attempt` in a shuffle of all other elements of the component.

    A component with a single element replaces it by itself.
    """
    elements = size.clips * size.slots
    if elements == 1:
        return clip, slot
    distance = 1 + permute((attempt - 1) % (elements - 1), elements - 1, key)
    return divmod((clip * size.slots + slot + distance) % elements, size.slots)
