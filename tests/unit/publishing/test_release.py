"""What a release is made of, as far as no network is needed for it; `make release-dry-run` builds the rest."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest
import yaml

from release import artifacts, images, settings
from tests.cluster.images import Image

REPOSITORY = artifacts.REPOSITORY
WORKFLOW = REPOSITORY / ".github" / "workflows" / "release.yaml"


def test_one_version_is_everywhere() -> None:
    charts = [yaml.safe_load((REPOSITORY / "charts" / name / "Chart.yaml").read_text()) for name in artifacts.CHARTS]

    assert {chart[field] for chart in charts for field in ("version", "appVersion")} == {artifacts.version()}


def test_the_chart_names_the_image_of_the_owner() -> None:
    values = yaml.safe_load((REPOSITORY / "charts" / "mtp-operator" / "values.yaml").read_text())

    assert values["image"]["repository"] == f"{settings.REGISTRY}/{settings.OWNER}/operator"


def test_charts_name_the_repository_of_the_owner() -> None:
    home = f"https://github.com/{settings.OWNER}/{settings.REPOSITORY}"

    for name in artifacts.CHARTS:
        chart = yaml.safe_load((REPOSITORY / "charts" / name / "Chart.yaml").read_text())
        assert (chart["home"], chart["sources"]) == (home, [home])


def test_notes_are_the_changelogs_of_this_version() -> None:
    notes = artifacts.notes()

    assert notes.startswith("- ")
    assert "\n## " not in notes


def test_archives_have_neither_time_nor_user(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "one.tar.gz"
    (source / "lib").mkdir(parents=True)
    (source / "lib" / "b").write_text("b")
    (source / "a").write_text("a")
    artifacts.write_archive(source, target)
    (source / "a").touch()
    artifacts.write_archive(source, tmp_path / "other.tar.gz")

    with tarfile.open(target) as archive:
        entries = archive.getmembers()
    assert [entry.name for entry in entries] == ["a", "lib", "lib/b"]
    assert {(entry.uid, entry.uname) for entry in entries} == {(0, "")}
    assert target.read_bytes() == (tmp_path / "other.tar.gz").read_bytes()


def test_krew_gets_every_platform_with_its_digest(tmp_path: Path) -> None:
    for platform in artifacts.PLATFORMS:
        (tmp_path / platform.archive).write_text(platform.archive)

    plugin = yaml.safe_load(artifacts.krew_manifest(tmp_path))

    assert plugin["metadata"]["name"] == "mtp"
    assert len(plugin["spec"]["platforms"]) == 3
    for one in plugin["spec"]["platforms"]:
        assert one["sha256"] == artifacts.sha256(tmp_path / one["uri"].rpartition("/")[2])
        assert f"/v{artifacts.version()}/" in one["uri"]


def test_checksums_are_of_every_file(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("b")
    (tmp_path / "a").write_text("a")
    (tmp_path / artifacts.CHECKSUMS).write_text("older")

    lines = artifacts.checksums(tmp_path).splitlines()

    assert [line.split("  ")[1] for line in lines] == ["a", "b"]
    assert lines[0].startswith("ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb")


# -- the workflow ------------------------------------------------------------------------------------------------------


def test_actions_are_pinned_by_commit() -> None:
    used = re.findall(r"uses: (\S+)(.*)", WORKFLOW.read_text())

    assert used
    assert [action for action, comment in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []
    assert [action for action, comment in used if not re.fullmatch(r" # v\d+\.\d+\.\d+", comment)] == []


def test_no_job_has_more_than_it_says() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())

    assert workflow["permissions"] == {}
    assert all(job["permissions"] for job in workflow["jobs"].values())
    assert "write-all" not in WORKFLOW.read_text()


def test_the_workflow_builds_by_the_dry_run_and_takes_names_from_one_file() -> None:
    text = WORKFLOW.read_text()

    assert "make release-dry-run" in text
    assert settings.REGISTRY not in text
    assert f"/{settings.OWNER}" not in text


# -- images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", images.PUBLISHED, ids=lambda image: image.name)
def test_an_image_is_for_any_processor(image: Image) -> None:
    """What differs are wheels: `make release-dry-run` gets these for both, and their hashes are all there."""
    assert images.tied_to_a_processor((REPOSITORY / image.dockerfile).read_text()) == []
    assert images.requirements(image)


@pytest.mark.parametrize(
    ("line", "is_tied"),
    [
        ("# for amd64 and arm64", False),
        ("RUN pip install -r requirements.txt", False),
        ("ARG TARGETARCH", True),
        ("FROM --platform=linux/amd64 ${BASE}", True),
        ("RUN cp /usr/lib/x86_64-linux-gnu/libnuma.so.1 /lib/", True),
        ("ADD https://example.com/tool /usr/bin/tool", True),
    ],
)
def test_a_line_that_is_for_one_processor_is_seen(line: str, is_tied: bool) -> None:
    assert bool(images.tied_to_a_processor(f"FROM ${{BASE}}\n{line}\n")) == is_tied


@pytest.mark.parametrize("image", images.PUBLISHED, ids=lambda image: image.name)
def test_bytecode_in_an_image_does_not_depend_on_the_time(image: Image) -> None:
    """And it holds whatever time the files get; `make release-dry-run` builds twice and compares digests."""
    text = (REPOSITORY / image.dockerfile).read_text().replace("\\\n", " ")
    # What pip installs into the environment of the build itself is left behind.
    into_the_image = [command for command in re.findall(r"pip [^&\n]*", text) if "--python" in command]

    assert into_the_image
    assert [command for command in into_the_image if "--no-compile" not in command] == []
    assert text.count("compileall") == text.count("compileall -q --invalidation-mode unchecked-hash")
    assert text.count("compileall") == len(into_the_image)


def test_the_time_in_images_is_that_of_archives() -> None:
    text = (REPOSITORY / "images" / "operator" / "Dockerfile").read_text()

    assert re.findall(r"SOURCE_DATE_EPOCH=(\d+)", text) == [str(settings.SOURCE_DATE_EPOCH)]


def test_the_workflow_sets_the_time_of_files_in_images() -> None:
    assert "rewrite-timestamp=true" in WORKFLOW.read_text()
