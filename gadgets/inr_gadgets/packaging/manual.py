"""The manual that is installed with a package: a PDF for those who use it at the scanner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inr_core.errors import MissingDependencyError
from inr_gadgets.packaging.label import CONFIGS
from inr_gadgets.packaging.spec import PackageSpec

_GREY, _BLUE, _RULE = (90, 90, 90), (20, 60, 110), (200, 205, 212)

_CONFIG_TEXT = {
    "inr_dynamic": "an image per frame while the scan runs (series 1), and all frames refined after its end (series 2)",
    "inr_live": "the images of the running scan alone (series 1)",
    "grasp": "live images (series 1); all frames by temporal total variation after the end (series 2)",
    "flow": "live images (series 1); refined (series 2), with the motion from frame to frame (series 3)",
    "cg_sense": "iterative SENSE, frame by frame; nothing is taken from other frames (series 1)",
    "nufft": "gridding with density weights, frame by frame; the plainest image (series 1)",
}


def write_manual(path: Path, spec: PackageSpec, label: Mapping[str, Any]) -> None:
    """Write the manual of a package.

    Raises
    ------
    MissingDependencyError
        Without the extra ``package``.
    """
    pdf = _page_maker()
    pdf.set_title(spec.name)
    pdf.set_author(spec.vendor)
    pdf.set_creation_date(datetime.now(UTC))
    pdf.footer_text = f"{spec.name}  -  research only, not a medical device"
    pdf.add_page()
    _title(pdf, spec)
    _what_it_does(pdf)
    _before_a_scan(pdf)
    _installation(pdf, spec)
    _parameters(pdf, label["parameters"])
    _messages(pdf)
    _limits(pdf, spec)
    pdf.output(str(path))


def _page_maker() -> Any:
    try:
        from fpdf import FPDF
    except ImportError as error:
        raise MissingDependencyError.of_extra("the manual needs fpdf2", "package", error) from None

    class Pages(FPDF):  # type: ignore[misc]
        footer_text = ""

        def footer(self) -> None:
            self.set_y(-14)
            self.set_font("Helvetica", size=8)
            self.set_text_color(*_GREY)
            self.cell(0, 6, f"{self.footer_text}  -  page {self.page_no()} of {{nb}}", align="C")

    pdf = Pages(format="A4")
    pdf.set_margins(22, 20)
    pdf.set_auto_page_break(True, margin=20)
    return pdf


def _title(pdf: Any, spec: PackageSpec) -> None:
    system = "XA60 and XA61" if spec.system == "xa60" else "VA70 and later"
    pdf.set_text_color(*_BLUE)
    pdf.set_font("Helvetica", "B", 24)
    pdf.multi_cell(0, 11, spec.identifier, new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("Helvetica", size=13)
    pdf.multi_cell(0, 7, "Real-time reconstruction of dynamic radial scans", new_x="LMARGIN", new_y="NEXT")
    pdf.set_text_color(*_GREY)
    pdf.set_font("Helvetica", size=10)
    pdf.multi_cell(0, 6, f"Version {spec.version}, by {spec.vendor}, for {system}", new_x="LMARGIN", new_y="NEXT")
    pdf.ln(3)
    pdf.set_draw_color(*_RULE)
    pdf.set_fill_color(253, 243, 224)
    pdf.set_text_color(0)
    pdf.set_font("Helvetica", "B", 10)
    pdf.multi_cell(
        0,
        6,
        "Research only. This is not a medical device: its images are not for diagnosis and no decision about a patient "
        "may "
        "rest on them. Whoever uses it answers for what the local rules ask of research on people.",
        align="L",
        border=1,
        fill=True,
        padding=3,
        new_x="LMARGIN",
        new_y="NEXT",
    )
    pdf.set_fill_color(255)


def _what_it_does(pdf: Any) -> None:
    _heading(pdf, "What it does")
    _text(
        pdf,
        "Raw data of a radial scan come in, spoke by spoke, and images go back to the database. While the scan runs "
        "there "
        "is an image of each frame, usually before the next frame is complete. After the scan all its frames are "
        "reconstructed once more, together, as an implicit neural representation: a function of place and time that is "
        "trained on this scan's data alone. No other patient's data were used to train anything.",
    )
    _text(pdf, "What is reconstructed is chosen on the protocol's card, as 'Reconstruction':")
    _table(
        pdf, ("choice", "what comes back"), [(shown, _CONFIG_TEXT[name]) for name, shown in CONFIGS.items()], (34, 66)
    )
    _text(
        pdf,
        "All series of a scan have one scale, so that brightness can be compared from frame to frame. The refined "
        "series "
        "comes when it is finished, as a rule within a few minutes after the last spoke.",
    )


def _before_a_scan(pdf: Any) -> None:
    _heading(pdf, "What the scan has to be")
    _bullets(
        pdf,
        [
            "2-D radial, or a stack of stars; full spokes through the centre of k-space; one or several slices.",
            "Golden or tiny golden angles, uniform angles, or a trajectory that is sent with the spokes. Angles that "
            "are "
            "found wrongly show as streaks or as an image that is turned: try 'Angles of the spokes' and 'Sense of "
            "rotation'.",
            "At least two frames. With 'Spokes of a frame' at 0 the scan's own counters say where a frame ends, and 21 "
            "spokes are taken where they do not.",
            "Noise is whitened if a noise scan is sent with the data; data that the scanner has whitened already come "
            "without one and are left alone.",
        ],
    )


def _installation(pdf: Any, spec: PackageSpec) -> None:
    _heading(pdf, "How to install it")
    if spec.system == "xa60":
        steps = [
            f"Copy {spec.archive_name}, as it is, to the scanner's host computer.",
            "Leave the kiosk mode (Tab + Del + Num + +) as an administrator and move the file to "
            r"C:\Program Files\Siemens\Numaris\OperationalManagement\FileTransfer\incoming. It is installed from there "
            "and vanishes from the folder; nothing is shown meanwhile. Allow some minutes.",
        ]
    else:
        steps = [
            f"Copy {spec.archive_name}, as it is, to the scanner's host computer.",
            "Leave the kiosk mode as an administrator, open a command prompt in %MREDGEHOME% and run "
            f"syngo.MR.Digi.Utils.Console.exe store --install-package C:\\path\\to\\{spec.archive_name}; "
            "'store --list' says when it is installed.",
        ]
    steps += [
        "Open a radial protocol. On the card Inline, OpenRecon, choose the algorithm "
        f"{spec.identifier}; its parameters appear below. Leave them as they are for a first scan.",
        "Scan a phantom first: position, orientation and scale of the images are to be compared with the scanner's "
        "own.",
    ]
    _bullets(pdf, steps, numbered=True)
    need = f"at least {spec.memory_mb} MB of memory and 2 processor cores free"
    _text(
        pdf,
        f"The computer that reconstructs needs {need}; a GPU is {'used if there is one' if spec.gpu else 'not used'}.",
    )


def _parameters(pdf: Any, parameters: Iterable[Mapping[str, Any]]) -> None:
    _heading(pdf, "Parameters")
    rows = []
    for parameter in parameters:
        unit = parameter.get("unit", {}).get("en", "")
        rows.append(
            (
                f"{parameter['label']['en']}\n({parameter['id']})",
                f"{_shown(parameter['default'])} {unit}".strip(),
                _allowed(parameter, unit),
                parameter.get("information", {}).get("en", ""),
            )
        )
    _table(pdf, ("parameter", "default", "allowed", "what it does"), rows, (25, 14, 23, 38))


def _messages(pdf: Any) -> None:
    _heading(pdf, "What it says")
    _text(
        pdf,
        "Lines appear in the host's log. DBG: how the scan was understood (spokes, angles, frames) and how far the "
        "refinement is. WRN: something is not as it should be and the images are made nevertheless. ERROR: there are "
        "no "
        "further images; the line names the cause, what was expected and what can be done. A scan that fails does not "
        "hold up the examination: its connection is closed.",
    )


def _limits(pdf: Any, spec: PackageSpec) -> None:
    _heading(pdf, "Limits")
    _bullets(
        pdf,
        [
            "Images between few spokes lean on the frames before and after: small, fast or sudden motion may be shown "
            "later, weaker or smoother than it was. 'Gridding' shows what the data of a frame say by themselves.",
            "Cartesian and spiral scans, rotated stacks and compressed data are refused.",
            "Pixel values have no physical unit. No distortion correction, no filter and no interpolation are applied.",
            "A container serves one scan. While it starts the first spokes wait; no spoke is lost.",
            "Pixels are written with 12 bits (0 to 4095) unless 'Data type of the images' says otherwise; brighter "
            "ones are "
            "clipped, with a line that says how many.",
        ],
    )
    _heading(pdf, "Where it comes from")
    _text(
        pdf,
        f"Packaged by {spec.vendor} from the open-source project inr-recon (MIT licence), which comes without "
        "warranty. "
        "'inr-recon check' and 'inr-recon replay' show on any computer, with the same scan as an ISMRMRD file, what "
        "this "
        "package makes of it.",
    )


def _heading(pdf: Any, text: str) -> None:
    pdf.ln(4)
    pdf.set_text_color(*_BLUE)
    pdf.set_font("Helvetica", "B", 13)
    pdf.multi_cell(0, 8, text, new_x="LMARGIN", new_y="NEXT")
    pdf.set_text_color(0)


def _text(pdf: Any, text: str) -> None:
    pdf.set_font("Helvetica", size=10)
    pdf.multi_cell(0, 5.2, text, align="L", new_x="LMARGIN", new_y="NEXT")
    pdf.ln(1.5)


def _bullets(pdf: Any, texts: Sequence[str], *, numbered: bool = False) -> None:
    pdf.set_font("Helvetica", size=10)
    for number, text in enumerate(texts, 1):
        pdf.cell(6, 5.2, f"{number}." if numbered else "-")
        pdf.multi_cell(0, 5.2, text, align="L", new_x="LMARGIN", new_y="NEXT")
        pdf.ln(0.8)


def _table(pdf: Any, heads: Sequence[str], rows: Iterable[Sequence[str]], widths: tuple[int, ...]) -> None:
    from fpdf.fonts import FontFace

    pdf.set_font("Helvetica", size=9)
    pdf.set_draw_color(*_RULE)
    head = FontFace(emphasis="BOLD", color=_BLUE, fill_color=(236, 240, 246))
    with pdf.table(
        col_widths=widths, text_align="LEFT", headings_style=head, line_height=4.6, padding=1.2, v_align="TOP"
    ) as table:
        for cells in ([heads], rows):
            for row in cells:
                table.row(row)
    pdf.ln(2)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _allowed(parameter: Mapping[str, Any], unit: str) -> str:
    if parameter["type"] == "choice":
        return ", ".join(value["id"] for value in parameter["values"])
    if parameter["type"] in ("int", "double"):
        return f"{float(parameter['minimum']):.10g} to {float(parameter['maximum']):.10g} {unit}".strip()
    return "yes, no" if parameter["type"] == "boolean" else "text"
