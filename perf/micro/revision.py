"""The micro benchmarks of a tree: which programs Bazel has of them, built as they ship, and what they measure."""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Bazel's outputs of old revisions stay here, so that the next comparison builds what has changed only.
CACHE = os.path.join(ROOT, ".cache", "compare")
# The second part are those of before there was the tag.
PROGRAMS = r"""attr(tags, '\bmicro\b', kind('cc_binary rule', //perf/...))
  union filter('^//perf:(batch|runtime|send_path)_bench$', kind('cc_binary rule', //perf/...))"""


class Failure(Exception):
    """What ends a comparison, in words for its user."""


def say_run(command, **options):
    print("+ " + " ".join(shlex.quote(word) for word in command), file=sys.stderr, flush=True)
    return subprocess.run(command, check=False, **options)


def output_of(command, **options):
    """(exit status, stdout, stderr)"""
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    return done.returncode, done.stdout, done.stderr


def commit_of(revision):
    status, commit, _ = output_of(["git", "rev-parse", "--verify", "--quiet", revision + "^{commit}"], cwd=ROOT)
    if status != 0 or revision.startswith("-"):
        raise Failure(f"git knows no revision '{revision}'")
    return commit.strip()


def working_tree_name():
    return output_of(["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=ROOT)[1].strip()


class Tree:
    """A checked out tree and the Bazel server that builds it."""

    def __init__(self, directory, startup):
        self.directory = directory
        self._bazel = ["bazel", *startup]

    def _asked(self, *arguments):
        status, answer, complaint = output_of([*self._bazel, *arguments], cwd=self.directory)
        if status != 0:
            raise Failure(f"bazel {arguments[0]} failed in {self.directory}:\n{complaint}")
        return answer.split()

    def build(self, into):
        """Builds the programs and copies them, so that a build meanwhile changes nothing. Name -> path.

        The paths are equally long for all: where the stack begins, and so how its data is aligned, depends on it.
        """
        labels = sorted(self._asked("query", "--noshow_progress", PROGRAMS))
        if not labels:
            raise Failure(f"{self.directory} has no micro benchmarks")
        command = [*self._bazel, "build", "--config=release", *labels]
        if say_run(command, cwd=self.directory).returncode != 0:
            raise Failure(f"the benchmarks of {self.directory} do not build")
        [bin_directory] = self._asked("info", "--noshow_progress", "--config=release", "bazel-bin")
        os.makedirs(into)
        programs = {}
        for number, label in enumerate(labels):
            package, _, name = label[2:].partition(":")
            programs[name] = os.path.join(into, f"{number:02}")
            shutil.copy(os.path.join(bin_directory, package, name), programs[name])
        return programs

    def shut_down(self):
        output_of([*self._bazel, "shutdown"], cwd=self.directory)


def startup_options():
    return os.environ.get("RINGTAIL_BAZEL_STARTUP", "").split()


def working_tree():
    return Tree(ROOT, startup_options())


@contextlib.contextmanager
def checked_out(commit):
    """A Tree of the commit in a git worktree, which goes at the end, however that comes. One at a time."""
    directory = os.path.join(CACHE, "tree")

    def remove():
        # What a killed comparison left may be a directory that git does not know, or the other way round.
        output_of(["git", "worktree", "remove", "--force", directory], cwd=ROOT)
        shutil.rmtree(directory, ignore_errors=True)
        output_of(["git", "worktree", "prune"], cwd=ROOT)

    remove()
    try:
        if say_run(["git", "worktree", "add", "--quiet", "--detach", directory, commit], cwd=ROOT).returncode != 0:
            raise Failure(f"git could not check out {commit}")
        settings = os.path.join(ROOT, ".bazelrc.user")
        if os.path.exists(settings):
            shutil.copy(settings, directory)
        tree = Tree(directory, [*startup_options(), "--output_base=" + os.path.join(CACHE, "bazel")])
        try:
            yield tree
        finally:
            tree.shut_down()
    finally:
        remove()
