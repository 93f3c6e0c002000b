"""Widget with a text field for a sentence, which is then played and shown on a person's lips."""

import html
import io
from fractions import Fraction

import ipywidgets
import soundfile
from ipywidgets import Layout
from matplotlib.figure import Figure

from metatalk_lib.audio_to_expression.model import TrainedA2E
from metatalk_lib.audio_to_expression.sentence_preview import SpokenSentence, speak_sentence
from metatalk_lib.core.errors import MetaTalkError
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.speech.synthesis import VOICES
from metatalk_lib.visualization import curves as curve_figures
from metatalk_lib.visualization import pictures

FIRST_SENTENCE = "My mother makes a very good apple pie."


class SpeakingLips:
    """Widget that speaks a typed sentence and shows the lips: a thin shell over `sentence_preview.speak_sentence`.

    Attributes:
        view: the widget to display.
        text, voice, button: the controls.
        player: audio player.
        phonemes, curves, faces: figures of the waveform with phonemes, the lip curves and the drawn faces.
        errors: error messages.
    """

    def __init__(self, model: FaceModel, coefficients: Coefficients, a2e: TrainedA2E, *, fps: Fraction) -> None:
        """Build the controls; nothing is spoken before the button is pressed.

        Args:
            model: the face model of the fit.
            coefficients: a fit of the person.
            a2e: the person's trained A2E.
            fps: frames a second.
        """
        self._person, self._fps = (model, coefficients, a2e), fps
        self.text = ipywidgets.Text(FIRST_SENTENCE, layout=Layout(width="36em"))
        self.voice = ipywidgets.Dropdown(options=VOICES, value=VOICES[0], layout=Layout(width="12em"))
        self.button = ipywidgets.Button(description="speak", layout=Layout(width="6em"))
        self.player = ipywidgets.Audio(autoplay=False, loop=False, layout=Layout(display="none"))
        self.phonemes, self.curves, self.faces = (ipywidgets.Image(layout=Layout(display="none")) for _ in range(3))
        self.errors = ipywidgets.HTML()
        controls = ipywidgets.HBox([self.text, self.voice, self.button])
        self.view = ipywidgets.VBox([controls, self.errors, self.player, self.phonemes, self.curves, self.faces])
        self.button.on_click(self._show)

    def _show(self, _: ipywidgets.Button) -> None:
        self.errors.value, self.button.disabled = "", True
        try:
            spoken = speak_sentence(self.text.value, self.voice.value, *self._person, fps=self._fps)
        except MetaTalkError as error:
            self.errors.value = f"<b>{html.escape(str(error))}</b>"
            for part in (self.player, self.phonemes, self.curves, self.faces):
                part.layout.display = "none"
            return
        finally:
            self.button.disabled = False
        self.player.value = _to_wav(spoken)
        marks = [(p.symbol, p.start_s, p.end_s) for p in spoken.speech.phonemes]
        _draw(self.phonemes, curve_figures.plot_speech(spoken.speech.samples, spoken.speech.rate, marks))
        curves = {"opening": spoken.opening_mm, "width": spoken.width_mm}
        _draw(self.curves, curve_figures.plot_curves(curves, fps=self._fps, label="mm"))
        _draw(self.faces, pictures.plot_mouth_sheet(spoken.faces, spoken.frames.tolist(), spoken.labels))
        self.player.layout.display = None


def _to_wav(spoken: SpokenSentence) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, spoken.speech.samples, spoken.speech.rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _draw(picture: ipywidgets.Image, figure: Figure) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    picture.value, picture.layout.display = buffer.getvalue(), None
