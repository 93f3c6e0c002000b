"""The user study: blinding, balance, resuming, the page over HTTP, and Table 4 with known answers."""

import http.client
import json
import sqlite3
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metatalk_lib.core.artifacts import save_json
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import Audio
from metatalk_lib.media.video import probe_video
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.metrics.intervals import bootstrap_interval, wilson_interval
from metatalk_lib.user_study import analysis, design, store
from metatalk_lib.user_study.design import StudyClip
from metatalk_lib.user_study.server import make_server

METHODS, PEOPLE = ("Ours", "AudioDVP", "Wav2Lip"), ("A", "B")


def make_clips(folder: Path, note: str = "") -> list[StudyClip]:
    clips = []
    for method in METHODS:
        for character in PEOPLE:
            path = folder / f"{method}_{character}.mp4"
            path.write_bytes(f"{method} {character} {note}".encode() * 20)
            clips.append(StudyClip(method, character, "held_out", path))
    return clips


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return store.create_study(make_clips(tmp_path), tmp_path / "study", seed=3)


def rate_all(database: Path, participant: str, realism: int, in_sync: bool) -> list[str]:
    seen = []
    while (token := store.next_clip(database, participant)[0]) is not None:
        store.add_rating(database, participant=participant, token=token, realism=realism, in_sync=in_sync)
        seen.append(token)
    return seen


def methods_by_token(database: Path) -> dict[str, str]:
    with sqlite3.connect(database) as connection:
        return dict(connection.execute("SELECT token, method FROM clips WHERE active = 1"))


def test_clips_are_blind_copies(study: Path) -> None:
    files = sorted((study.parent / "clips").iterdir())
    assert len(files) == 6
    for file in files:
        assert not any(word in file.name for word in (*METHODS, "held_out"))
    assert {file.read_bytes() for file in files} == {clip.path.read_bytes() for clip in make_clips(study.parents[1])}


def test_every_participant_sees_every_clip_once_in_balanced_rounds(study: Path) -> None:
    methods = methods_by_token(study)
    firsts = []
    for number in range(3):
        seen = rate_all(study, f"p{number}", 4, True)
        assert sorted(seen) == sorted(methods)
        for start in (0, 3):
            assert sorted(methods[token] for token in seen[start : start + 3]) == sorted(METHODS)
        firsts.append(methods[seen[0]])
    assert sorted(firsts) == sorted(METHODS)


def test_orders_are_seeded() -> None:
    clips = [(f"{method}{number}", method) for method in METHODS for number in range(5)]
    same = [design.session_order(clips, participant_number=2, seed=1) for _ in range(2)]
    assert same[0] == same[1]
    assert design.session_order(clips, participant_number=2, seed=2) != same[0]
    assert design.session_order(clips[::-1], participant_number=2, seed=1) == same[0]


def test_uneven_clips_all_appear() -> None:
    clips = [("a", "Ours"), ("b", "Ours"), ("c", "Ours"), ("d", "Wav2Lip")]
    assert sorted(design.session_order(clips, participant_number=0, seed=0)) == ["a", "b", "c", "d"]


def test_a_participant_resumes_where_she_stopped(study: Path) -> None:
    token, rated, total = store.next_clip(study, "anna")
    assert (rated, total) == (0, 6)
    assert store.next_clip(study, "anna")[0] == token
    store.add_rating(study, participant="anna", token=token, realism=5, in_sync=False)
    following, rated, _ = store.next_clip(study, "anna")
    assert rated == 1
    assert following != token


def test_no_rating_is_stored_twice(study: Path) -> None:
    token, _, _ = store.next_clip(study, "anna")
    store.add_rating(study, participant="anna", token=token, realism=5, in_sync=True)
    with pytest.raises(store.DuplicateRatingError, match="already"):
        store.add_rating(study, participant="anna", token=token, realism=1, in_sync=False)
    assert store.load_ratings(study)["realism"].tolist() == [5]


def test_making_the_same_study_again_changes_no_byte(study: Path, tmp_path: Path):
    before = study.read_bytes()
    store.create_study(make_clips(tmp_path), study.parent, seed=3)
    assert study.read_bytes() == before
    store.create_study(make_clips(tmp_path), study.parent, seed=4)
    assert study.read_bytes() != before


def test_making_the_study_again_keeps_ratings_and_drops_those_of_changed_videos(study: Path) -> None:
    rate_all(study, "anna", 4, True)
    folder = study.parents[1]
    store.create_study(make_clips(folder), study.parent, seed=3)
    assert len(store.load_ratings(study)) == 6
    store.create_study(make_clips(folder, note="rendered again"), study.parent, seed=3)
    assert len(store.load_ratings(study)) == 0
    store.create_study(make_clips(folder), study.parent, seed=3)
    assert len(store.load_ratings(study)) == 6


def test_table4_without_ratings_says_so(study: Path) -> None:
    table = analysis.compute_table4(study)
    assert table.index.tolist() == sorted(METHODS)
    assert (table["note"] == "no ratings yet").all()
    assert (table["ratings"] == 0).all()
    assert table[["Average", "low", "1 %", "sync %", "sync low"]].isna().all(axis=None)


def test_table4_known_answers(study: Path) -> None:
    methods = methods_by_token(study)
    for participant, offset in (("anna", 0), ("ben", 1)):
        store.next_clip(study, participant)
        for token, method in methods.items():
            realism = {"Ours": 4, "AudioDVP": 2, "Wav2Lip": 3}[method] + offset
            store.add_rating(study, participant=participant, token=token, realism=realism, in_sync=method != "AudioDVP")
    table = analysis.compute_table4(study)
    assert table.loc["Ours", ["Average", "4 %", "5 %", "sync %", "ratings", "participants"]].tolist() == [
        4.5,
        50,
        50,
        100,
        4,
        2,
    ]
    assert table.loc["AudioDVP", ["Average", "2 %", "3 %", "sync %"]].tolist() == [2.5, 50, 50, 0]
    assert table.loc["Ours", ["low", "high"]].tolist() == [4.0, 5.0]
    assert table.loc["Ours", "sync low"] == pytest.approx(100 * wilson_interval(4, 4)[0])
    assert table.loc["Ours", "note"] == ""


def test_one_participant_gives_no_interval_of_the_average(study: Path) -> None:
    rate_all(study, "anna", 3, True)
    assert analysis.compute_table4(study)[["low", "high"]].isna().all(axis=None)


def test_wilson_interval_known_values() -> None:
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson_interval(5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-5)
    assert wilson_interval(10, 10) == pytest.approx((0.72247, 1.0), abs=1e-5)


def test_bootstrap_covers_the_mean_and_is_seeded() -> None:
    rng = np.random.default_rng(1)
    ratings = pd.DataFrame({"participant": np.repeat(np.arange(20), 7), "realism": rng.integers(1, 6, 140)})
    low, high = bootstrap_interval(ratings, seed=0)
    assert low < ratings["realism"].mean() < high
    assert (low, high) == bootstrap_interval(ratings, seed=0)


def test_export_holds_every_rating(study: Path, tmp_path: Path) -> None:
    rate_all(study, "anna", 2, False)
    assert store.export_ratings(study, tmp_path / "ratings.csv") == 6
    table = pd.read_csv(tmp_path / "ratings.csv")
    assert sorted(table["method"].unique()) == sorted(METHODS)
    assert (table["realism"] == 2).all()


def test_bad_ratings_are_refused(study: Path) -> None:
    token, _, _ = store.next_clip(study, "anna")
    good = {"participant": "anna", "token": token, "realism": 3, "in_sync": True}
    for wrong, message in [
        ({"realism": 6}, "from 1 to 5, got 6"),
        ({"realism": 0}, "from 1 to 5, got 0"),
        ({"token": "f" * 16}, "no clip"),
        ({"participant": "never seen"}, "participant must be"),
        ({"participant": "nobody"}, "no participant"),
    ]:
        with pytest.raises(ParameterError, match=message):
            store.add_rating(study, **(good | wrong))
    assert len(store.load_ratings(study)) == 0


def test_bad_studies_are_refused(tmp_path: Path) -> None:
    clips = make_clips(tmp_path)
    with pytest.raises(ParameterError, match="no clips to rate"):
        store.create_study([], tmp_path / "s", seed=0)
    with pytest.raises(ParameterError, match="more than one clip"):
        store.create_study([*clips, clips[0]], tmp_path / "s", seed=0)
    with pytest.raises(DataError, match=r"gone\.mp4 of Ours does not exist"):
        store.create_study([StudyClip("Ours", "A", "x", tmp_path / "gone.mp4")], tmp_path / "s", seed=0)
    with pytest.raises(DataError, match="Run notebooks/07"):
        analysis.compute_table4(tmp_path / "nothing.sqlite")
    with pytest.raises(DataError, match="no study in"):
        make_server(tmp_path)
    (tmp_path / "broken.sqlite").write_bytes(b"this is no database, only text" * 50)
    with pytest.raises(DataError, match="cannot be used as a ratings file"):
        analysis.compute_table4(tmp_path / "broken.sqlite")
    with pytest.raises(ParameterError, match="successes <= trials"):
        wilson_interval(3, 2)


def test_clips_are_those_that_stage_06_lists(tmp_path: Path) -> None:
    folder = tmp_path / "A" / "06_evaluation"
    (tmp_path / "A" / "05_neural_renderer").mkdir(parents=True)
    (tmp_path / "A" / "05_neural_renderer" / "talk.mp4").write_bytes(b"ours")
    entry = {"method": "Ours", "audio": "held_out", "file": "../05_neural_renderer/talk.mp4"}
    save_json(folder / "clips.json", [entry])
    with pytest.raises(DataError, match="not finished for character A"):
        design.find_clips(tmp_path, ["A"])
    save_json(folder / "summary.json", {})
    assert [clip.path.read_bytes() for clip in design.find_clips(tmp_path, ["A"])] == [b"ours"]
    save_json(folder / "clips.json", [entry | {"file": "gone.mp4"}])
    with pytest.raises(DataError, match=r"gone\.mp4 of Ours does not exist"):
        design.find_clips(tmp_path, ["A"])


def test_long_clips_are_cut(tmp_path: Path) -> None:
    sound = Audio(np.zeros((16000, 1), np.float32), 16000)
    write_video(tmp_path / "long.mp4", np.zeros((25, 32, 32, 3), np.uint8), fps=Fraction(25), audio=sound)
    clips = [StudyClip("Ours", "A", "x", tmp_path / "long.mp4")]
    store.create_study(clips, tmp_path / "study", seed=0, max_seconds=0.4)
    (copy,) = (tmp_path / "study" / "clips").iterdir()
    info = probe_video(copy)
    assert (info.frame_count, info.has_audio) == (10, True)


@pytest.fixture
def connection(study: Path) -> Iterator[http.client.HTTPConnection]:
    server = make_server(study.parent, port=0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    client = http.client.HTTPConnection(*server.server_address, timeout=10)
    yield client
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()


def request(
    client: http.client.HTTPConnection, method: str, path: str, body=None, headers=None
) -> tuple[int, bytes, dict]:
    client.request(method, path, body if isinstance(body, bytes | None) else json.dumps(body), headers or {})
    reply = client.getresponse()
    return reply.status, reply.read(), dict(reply.getheaders())


def test_the_page_is_self_contained(connection: http.client.HTTPConnection) -> None:
    status, page, headers = request(connection, "GET", "/")
    assert status == 200
    assert b"<video" in page
    assert b"http://" not in page
    assert b"https://" not in page
    assert not any(method.encode() in page for method in METHODS)
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_a_whole_session_over_http(connection: http.client.HTTPConnection, study: Path) -> None:
    for done in range(6):
        status, reply, _ = request(connection, "GET", "/api/next?participant=anna")
        state = json.loads(reply)
        assert (status, state["rated"], state["total"]) == (200, done, 6)
        assert request(connection, "GET", f"/clips/{state['token']}.mp4")[0] == 200
        rating = {"participant": "anna", "token": state["token"], "realism": 5, "in_sync": True}
        assert request(connection, "POST", "/api/ratings", rating)[0] == 201
        assert len(store.load_ratings(study)) == done + 1
    assert json.loads(request(connection, "GET", "/api/next?participant=anna")[1])["token"] is None
    assert request(connection, "POST", "/api/ratings", rating)[0] == 409


def test_video_ranges(connection: http.client.HTTPConnection) -> None:
    token = json.loads(request(connection, "GET", "/api/next?participant=anna")[1])["token"]
    whole = request(connection, "GET", f"/clips/{token}.mp4")[1]
    status, part, headers = request(connection, "GET", f"/clips/{token}.mp4", headers={"Range": "bytes=5-9"})
    assert (status, part, headers["Content-Range"]) == (206, whole[5:10], f"bytes 5-9/{len(whole)}")
    assert request(connection, "GET", f"/clips/{token}.mp4", headers={"Range": "bytes=7-"})[1] == whole[7:]
    assert request(connection, "GET", f"/clips/{token}.mp4", headers={"Range": "bytes=99999-"})[0] == 416


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{not json", "must be JSON"),
        (b"[]", "must have exactly"),
        ({"participant": "anna"}, "must have exactly"),
        ({"participant": "anna", "token": "x", "realism": 9, "in_sync": True}, "from 1 to 5, got 9"),
        ({"participant": "anna", "token": "x", "realism": "3", "in_sync": True}, "from 1 to 5, got '3'"),
        ({"participant": "anna", "token": "x", "realism": True, "in_sync": True}, "from 1 to 5, got True"),
        ({"participant": "anna", "token": "x", "realism": 3, "in_sync": "yes"}, "in_sync must be true or false"),
        ({"participant": "a b", "token": "x", "realism": 3, "in_sync": True}, "participant must be"),
        ({"participant": "anna", "token": "x", "realism": 3, "in_sync": True}, "no clip `x`"),
        (b" " * 20000, "at most 10000 bytes"),
    ],
)
def test_bad_posts_get_400_with_a_message(connection, study: Path, body, message: str) -> None:
    status, reply, _ = request(connection, "POST", "/api/ratings", body)
    assert status == 400
    assert message in json.loads(reply)["error"]
    assert len(store.load_ratings(study)) == 0


def test_bad_gets(connection: http.client.HTTPConnection) -> None:
    assert request(connection, "GET", "/api/next?participant=")[0] == 400
    assert request(connection, "GET", "/ratings.sqlite")[0] == 404
    assert request(connection, "GET", "/clips/../ratings.sqlite")[0] == 404
    assert request(connection, "GET", "/clips/ffffffffffffffff.mp4")[0] == 404
    assert request(connection, "POST", "/elsewhere", {})[0] == 404
