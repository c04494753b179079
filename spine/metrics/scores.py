"""What an evaluation says: frozen values for one label, one scan, one region and the whole set of scans."""

from spine.values import StoredValue, Value


class LabelScore(Value):
    """One label of one scan that is in the reference, in the prediction, or in both."""

    label: int
    reference_voxels: int
    predicted_voxels: int
    common_voxels: int
    dice: float | None
    """Dice (GT-present): None where the reference lacks the label, 0 where the prediction lacks it."""
    at_border: bool | None
    """Whether the reference vertebra touches the edge of the field of view; None where only counts are known."""
    identified: bool | None
    """VerSe'19 identification; None where the reference lacks the label."""
    localisation_mm: float | None
    """Distance of centroids in mm; None unless identified."""
    called: int | None = None
    """The label of most of the bone predicted on the reference vertebra, 0 where none is; None without reference."""
    covers: int | None = None
    """The reference label under most of the predicted label's voxels, 0 for background; None where not predicted."""
    nsd_1_5mm: float | None = None
    """Normalised surface Dice at 1.5 mm: None where the reference lacks the label, 0 where the prediction does."""
    nsd_3mm: float | None = None
    hd95_mm: float | None = None
    """95th percentile of the surface distances in mm; None unless both hold the label: a miss is counted instead."""


class FoundVertebra(Value):
    """One vertebra of the prediction, found as a thing whatever it is called: several may have one name."""

    label: int
    was: int
    """What the network called most of it, before post-processing."""
    covers: int
    """The reference label under most of its voxels; 0 where most are on no vertebra."""
    voxels: int
    margin: float
    """By how much the best naming of the scan that gives it another name is dearer, in nats; 0 where it is cheaper."""
    flags: tuple[str, ...]
    """What a reader should look at."""


class ScanScores(Value):
    """All scores of one scan. A missing prediction is scored as an empty one and named."""

    case: str
    patient: str | None
    labels: tuple[LabelScore, ...]
    mean_dice: float | None
    """Mean of Dice (GT-present) over the reference's labels; None where the reference is empty."""
    bone_dice: float | None
    """Dice of all labels merged; None where reference and prediction are both empty."""
    all_correct: bool | None
    """Every reference vertebra identified and no extra one of > 500 voxels; None without reference labels."""
    level_shift: int | None
    """The offset in -3..3 that the prediction's names are off by (0 is right); None if nothing overlaps."""
    false_positive_labels: int
    false_positive_mm3: float | None
    """None where only counts are known."""
    missing: bool | None
    """True where there was no prediction (a crash, a file that was not written); None where that can't be known."""
    vertebrae: tuple[FoundVertebra, ...] = ()
    """From superior to inferior, where vertebrae were looked for; empty otherwise."""


class GroupScores(Value):
    """Scores over one group of reference vertebrae: a region of the spine, one level, whole or cut vertebrae."""

    name: str
    scans: int
    """Scans whose reference shows at least one vertebra of the group; 0 means: nothing can be said."""
    vertebrae: int
    dice: float | None
    """Mean over scans of the scan's mean Dice (GT-present) within the group; NSD and HD95 likewise."""
    nsd_1_5mm: float | None
    nsd_3mm: float | None
    hd95_mm: float | None
    """Over the vertebrae that were predicted at all; ``missed`` counts the others."""
    missed: int
    id_rate: float | None
    misnamed_rate: float | None
    """Vertebrae found as bone that mostly has another name, over those found as bone."""
    localisation_mm: float | None


class Summary(Value):
    """Scores over all scans; each name says which of the several means it is."""

    scans: int
    scans_with_labels: int
    missing_predictions: tuple[str, ...]
    dice_scan_mean: float | None
    """Primary: mean over scans of the scan's mean Dice (GT-present)."""
    dice_label_macro: float | None
    """Mean over labels of the label's mean Dice (GT-present) over scans."""
    dice_nnunet: float | None
    """As ``nnUNetv2_evaluate_folder`` computes its foreground mean, without the NaN of absent classes."""
    bone_dice: float | None
    id_rate: float | None
    """Identified reference vertebrae over all reference vertebrae of all scans."""
    all_correct_rate: float | None
    wrong_level_rate: float | None
    wrong_level_cases: tuple[str, ...]
    misnamed_rate: float | None
    """Vertebrae found as bone that mostly has another name, over those found: sees a block that is shifted, too."""
    localisation_mm: float | None
    nsd_1_5mm: float | None
    """Mean over scans of the scan's mean over the reference's labels."""
    nsd_3mm: float | None
    hd95_mm: float | None
    """Mean over scans of the scan's mean over the labels found; ``missed_labels`` counts the others."""
    missed_labels: int
    """Reference vertebrae whose label the prediction lacks."""
    false_positive_labels: int
    false_positive_mm3: float | None
    extra_vertebra_rate: float | None
    """Scans with a label of > 500 voxels that the reference lacks, over all scans, those without labels included."""
    extra_vertebra_cases: tuple[str, ...]
    whole: GroupScores
    border: GroupScores
    """Vertebrae cut by the border of the field of view."""
    regions: tuple[GroupScores, ...]
    labels: tuple[GroupScores, ...]


class Evaluation(StoredValue):
    """An evaluation of one model on one set of scans: the evidence that a gate judges."""

    name: str
    scans: tuple[ScanScores, ...]
    summary: Summary
