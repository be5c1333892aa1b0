"""The command that makes files of images: export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from inr_core.errors import ParameterError
from inr_gadgets.commands.common import Progress, command, say


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app)(export)


def export(
    images: Annotated[Path, typer.Argument(metavar="OUT.h5", help="Images of a reconstruction.", show_default=False)],
    gif: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an animated GIF.")] = None,
    mp4: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a film (extra 'video').")] = None,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a contact sheet.")] = None,
    dicom: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write DICOM into a folder (extra 'dicom').")
    ] = None,
    nifti: Annotated[Path | None, typer.Option(metavar="FILE.nii.gz", help="Write NIfTI (extra 'nifti').")] = None,
    series: Annotated[
        list[int] | None,
        typer.Option(
            help="1 live, 2 refined, 3 motion, 4 delayed; repeatable. By default 1 and 2 side by side as pictures, all "
            "but the motion as DICOM and NIfTI."
        ),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Group of the images; by default the last.")] = None,
    scan: Annotated[
        Path | None, typer.Option(metavar="SCAN.h5", help="Whose header says patient, study and sequence.")
    ] = None,
    enhanced: Annotated[
        bool, typer.Option("--enhanced/--classic", help="DICOM: one file a series, or one a plane and frame.")
    ] = False,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="DICOM without what identifies.")] = False,
    phase: Annotated[bool, typer.Option("--phase", help="Of complex images the phase (DICOM, NIfTI).")] = False,
    frame_ms: Annotated[float | None, typer.Option(help="Duration of a frame; by default by the time stamps.")] = None,
    zoom: Annotated[float | None, typer.Option(min=0.1, help="Screen pixels per pixel.")] = None,
    smooth: Annotated[bool, typer.Option("--smooth", help="Bicubic, not the pixels as they are.")] = False,
) -> None:
    """Make files that people use of image series: DICOM, NIfTI, GIF, MP4, PNG.

    Example: inr-recon export out.h5 --dicom heart --gif heart.gif
    """
    if all(name is None for name in (gif, mp4, png, dicom, nifti)):
        raise ParameterError(
            "no file to write", "--gif, --mp4, --png, --dicom or --nifti with a name", "for example --gif heart.gif"
        )
    _refuse_without(dicom, "--dicom", {"--scan": scan, "--enhanced": enhanced})
    _refuse_without(dicom or nifti, "--dicom or --nifti", {"--anonymous": anonymous, "--phase": phase})
    if gif is not None or mp4 is not None or png is not None:
        from inr_gadgets.export import pictures

        movie = pictures.load_movie(images, series, group, frame_ms)
        if gif is not None:
            pictures.write_gif(gif, movie, zoom=zoom, smooth=smooth)
            print(gif)
        if mp4 is not None:
            pictures.write_mp4(mp4, movie, zoom=zoom, smooth=smooth)
            print(mp4)
        if png is not None:
            pictures.write_contact_sheet(png, movie, zoom=zoom)
            print(png)
    if dicom is None and nifti is None:
        return
    from inr_gadgets.export.dicom import write_dicom
    from inr_gadgets.export.facts import find_facts
    from inr_gadgets.export.nifti import write_nifti
    from inr_gadgets.export.series import load_sets, newest_group

    group = newest_group(images, group)
    sets = load_sets(images, group, series, frame_time_ms=frame_ms, phase=phase, anonymous=anonymous, announce=say)
    if dicom is not None:
        facts = find_facts(images, group, scan, anonymous=anonymous, announce=say)
        with Progress("images", sum(len(one.images) for one in sets)) as progress:
            written = write_dicom(dicom, sets, facts, enhanced=enhanced, announce=say, progress=progress.update)
        print("\n".join(map(str, written)))
    if nifti is not None:
        print("\n".join(map(str, write_nifti(nifti, sets, announce=say))))


def _refuse_without(written: Path | None, needed: str, options: Mapping[str, object]) -> None:
    """Refuse options that nothing which is to be written heeds."""
    for option, given in options.items():
        if given and written is None:
            raise ParameterError(f"{option} without {needed}", f"{needed} with a name", "pictures do not heed it")
