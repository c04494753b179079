"""Recipes: what to train and how, as small YAML files with the reason for each choice beside it."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from spine.values import WrittenValue

AXES = ("left-right", "anterior-posterior", "superior-inferior")
"""The axes of a canonical (RAS) volume, in the order of every triple in a recipe."""

Axis = Literal["left-right", "anterior-posterior", "superior-inferior"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Spacing = Annotated[float, Field(ge=0.05, le=50)]
Count = Annotated[int, Field(ge=1, le=99_999)]
"""Positions within a training are written with five digits."""
Edge = Annotated[int, Field(ge=1, le=4096)]
Triple = tuple[Edge, Edge, Edge]
_OPERATIONAL = {"folds", "augmentation_workers", "checkpoint_minutes", "dice_by_epoch"}


class Network(WrittenValue):
    """A plain U-Net in place of the planner's: stages halve every axis."""

    FIRST_FIELDS = frozenset({"features_per_stage", "convolutions_deepest"})

    features_per_stage: tuple[Edge, ...] = Field(min_length=3, max_length=8)
    """Three stages at the least: nnU-Net gives the last of its deep supervision outputs no weight, and needs two."""
    convolutions_deepest: Count = 2
    """Convolutions of the deepest stage, two in the others: cheap there, each adds much to the receptive field."""


class PlanRecipe(WrittenValue):
    """What nnU-Net plans and preprocesses; all that a plan's digest depends on besides the data."""

    FIRST_FIELDS = frozenset({"planner", "configuration", "spacing_mm", "patch", "batch_size", "batch_dice", "network"})

    planner: Literal["ExperimentPlanner", "nnUNetPlannerResEncM", "nnUNetPlannerResEncL", "nnUNetPlannerResEncXL"]
    configuration: Literal["2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"] = "3d_fullres"
    """Of a cascade, everything below is said of its full-resolution stage; the planner makes the other."""
    spacing_mm: tuple[Spacing, Spacing, Spacing] | None = None
    """Target spacing along left-right, anterior-posterior, superior-inferior; None leaves it to the planner.

    A two-dimensional configuration keeps the distance of axial slices, whatever the third number is.
    """
    patch: Triple | None = None
    """Patch in voxels along the same axes; None leaves it to the planner. Axial, so one voxel high, in 2d."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    batch_dice: bool | None = None
    """Whether the Dice loss pools the batch, so that a level absent from one patch doesn't count as a miss."""
    network: Network | None = None

    @model_validator(mode="after")
    def _patch_fits_network(self) -> "PlanRecipe":
        is_flat = self.configuration == "2d"
        if is_flat and self.patch and self.patch[2] != 1:
            raise ValueError(f"patch {self.patch} must be 1 voxel high in 2d, where slices are axial")
        if self.network and self.planner != "ExperimentPlanner":
            raise ValueError(f"a network of its own is a plain U-Net: it needs ExperimentPlanner, not {self.planner}")
        if self.network and not self.patch:
            raise ValueError("a network of its own needs a patch of its own")
        if self.network and self.patch:
            step = 2 ** (len(self.network.features_per_stage) - 1)
            if any(size % step for size in self.patch[: 2 if is_flat else 3]):
                raise ValueError(f"patch {self.patch} must be divisible by {step}, the network's deepest stride")
        return self


class TrainingRecipe(WrittenValue):
    """How each fold is trained; the defaults are nnU-Net's where a reason isn't given."""

    FIRST_FIELDS = frozenset({
        "folds", "epochs", "iterations_per_epoch", "validation_iterations_per_epoch", "optimizer",
        "initial_learning_rate", "weight_decay", "foreground_oversampling", "mirror_axes", "precision", "compile",
        "augmentation_workers", "checkpoint_minutes", "dice_by_epoch", "seed",
    })  # fmt: skip

    folds: tuple[Annotated[int, Field(ge=0, le=4)], ...] = Field(min_length=1, max_length=5)
    epochs: Count
    iterations_per_epoch: Count = 250
    validation_iterations_per_epoch: Count = 50
    optimizer: Literal["sgd", "adamw"] = "sgd"
    initial_learning_rate: Positive = 0.01
    weight_decay: float = Field(default=3e-5, ge=0, le=1)
    foreground_oversampling: float = Field(default=0.33, ge=0, le=1)
    mirror_axes: tuple[Axis, ...] = ("left-right",)
    """Only left-right keeps labels: along another axis the mirror image of a spine has them backwards."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp16"
    """Of the forward pass on a GPU; fp16 scales gradients as nnU-Net does, bf16 needs no scaling. CPUs use fp32."""
    compile: bool = True
    """Whether torch compiles the network on a GPU: minutes at the start, faster steps after. CPUs never do."""
    augmentation_workers: int = Field(default=8, ge=0, le=512)
    """Processes that make batches; any number of them makes the same ones. 0 makes them between the steps."""
    checkpoint_minutes: Positive = 10
    """The most that is ever lost of a training."""
    dice_by_epoch: Count | None = 50
    """Epoch by which pseudo-Dice must have left zero; a fold that hasn't learnt anything by then is stopped."""
    seed: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _folds_once(self) -> "TrainingRecipe":
        if len(set(self.folds)) != len(self.folds):
            raise ValueError(f"folds {self.folds} name a fold twice")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What makes a fold of this recipe what it is: how often it is saved, or by how many helped, does not."""
        return {name: part for name, part in self.first_content().items() if name not in _OPERATIONAL}


class PredictionRecipe(WrittenValue):
    """How a trained model is applied, in evaluation and in the server alike."""

    FIRST_FIELDS = frozenset({"mirroring", "tile_step"})

    mirroring: bool = False
    tile_step: float = Field(default=0.5, gt=0, le=1)


class Recipe(WrittenValue):
    """A whole recipe."""

    FIRST_FIELDS = frozenset({"name", "about", "plan", "training", "prediction"})

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    about: str
    plan: PlanRecipe
    training: TrainingRecipe
    prediction: PredictionRecipe = PredictionRecipe()


def load_recipe(name: str) -> Recipe:
    """Return a recipe by its name, or from a path that ends in .yaml; an unknown one lists those that exist."""
    return Recipe.named(name, package="spine.recipes")


def given_recipe(text: str) -> Recipe:
    """Return a recipe from its JSON, as pipelines hand it to steps, or by its name or path."""
    return Recipe.from_json(text, where="recipe") if text.lstrip().startswith("{") else load_recipe(text)
