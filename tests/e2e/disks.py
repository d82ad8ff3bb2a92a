"""File systems of a test's own: on a loop device, or one that fails when it is told to."""

import ctypes
import errno
import fcntl
import functools
import os
import shutil
import struct
import subprocess

import harness

os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"  # mkfs, losetup
FAULTY_FS = os.path.abspath("tests/e2e/faulty_fs")
SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN: _IOR('X', 125, __u32)
NO_LOG_FLUSH = 2
UMOUNT_DETACH = 2
CLONE_NEWNS = 0x20000
DEVICE_BYTES = 2 << 30


@functools.cache
def own_mount_namespace():
    """So that no sandbox of another test gets a copy of a mount, which would keep a file system
    that was shut down alive behind its umount: the next mount would be the same dead one."""
    if ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
        return  # nor may it mount, then: the test is skipped
    subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)


class Device:
    """A file system on a loop device of its own."""

    def __init__(self, kind, size=DEVICE_BYTES, copy_of=None):
        own_mount_namespace()
        self.kind = kind
        self.root = harness.scratch("device")
        self.image = os.path.join(self.root, "image")
        self.mount_point = os.path.join(self.root, "mnt")
        os.mkdir(self.mount_point)
        if copy_of is None:
            with open(self.image, "wb") as file:
                file.truncate(size)
            options = {"ext4": ["-q", "-F", "-m", "0"], "xfs": ["-q", "-f"]}[kind]
            subprocess.run(["mkfs." + kind, *options, self.image], check=True, capture_output=True)
        else:
            subprocess.run(["cp", "--sparse=always", copy_of, self.image], check=True)
        self.loop = subprocess.run(["losetup", "--find", "--show", self.image], check=True,
                                   capture_output=True, text=True).stdout.strip()
        self.mounted = False
        self.frozen = False
        self.mount()

    def copy(self):
        """A snapshot, if it is frozen."""
        return Device(self.kind, copy_of=self.image)

    def mount(self):
        options = {"ext4": [], "xfs": ["-o", "nouuid"]}[self.kind]  # a copy may be mounted, too
        subprocess.run(["mount", *options, self.loop, self.mount_point], check=True,
                       capture_output=True)
        self.mounted = True

    def unmount(self):
        harness.wait_for(lambda: subprocess.run(["umount", self.mount_point],
                                                capture_output=True, check=False).returncode == 0,
                         "the file system is no longer in use")
        self.mounted = False

    def shut_down(self):
        fd = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def freeze(self):
        """Until it is thawed, whoever writes waits, as on a disk that does not answer."""
        subprocess.run(["fsfreeze", "--freeze", self.mount_point], check=True, capture_output=True)
        self.frozen = True

    def thaw(self):
        if not self.frozen:
            return
        subprocess.run(["fsfreeze", "--unfreeze", self.mount_point], check=True, capture_output=True)
        self.frozen = False

    def close(self):
        self.thaw()
        if self.mounted:
            ctypes.CDLL(None).umount2(self.mount_point.encode(), UMOUNT_DETACH)
        subprocess.run(["losetup", "-d", self.loop], check=False, capture_output=True)
        shutil.rmtree(self.root, ignore_errors=True)


def device(test, kind, size=DEVICE_BYTES):
    if os.geteuid() != 0 or shutil.which("losetup") is None or shutil.which("mkfs." + kind) is None:
        test.skipTest(f"making a file system of its own takes root, losetup and mkfs.{kind}")
    try:
        made = Device(kind, size)
    except subprocess.CalledProcessError as error:
        test.skipTest(f"no {kind} on a loop device here: {error.stderr}")
    test.addCleanup(made.close)
    return made


class FaultyDisk:
    """A directory whose reads, writes and syncs fail or hang when it is told (faulty_fs.cc)."""

    def __init__(self, writeback=False):
        if not os.path.exists("/dev/fuse"):
            raise AssertionError("there is no /dev/fuse: load the kernel's module fuse, or give the "
                                 "container the device (docker run --device=/dev/fuse "
                                 "--cap-add=SYS_ADMIN)")
        own_mount_namespace()
        self.root = harness.scratch("faulty")
        self.source = os.path.join(self.root, "source")
        self.mount_point = os.path.join(self.root, "mnt")
        os.mkdir(self.source)
        os.mkdir(self.mount_point)
        options = ["--writeback"] if writeback else []
        self.process = subprocess.Popen([FAULTY_FS, *options, self.source, self.mount_point],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._line() != "ready":
            raise AssertionError(f"faulty_fs ended with {self.process.wait()}, see above")

    def _line(self):
        return self.process.stdout.readline().strip()

    def _tell(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()
        answer = self._line().split()
        if answer[:1] != ["ok"]:
            raise AssertionError(f"faulty_fs on {words}: {' '.join(answer)}")
        return answer[1:]

    def fail(self, call, glob, error=errno.EIO, extent=()):
        """From now on such calls of files below the data directory fail; `extent`: (first, last)."""
        self._tell("fail", call, error, glob, *extent)

    def hang(self, call, glob):
        self._tell("hang", call, glob)

    def clear(self):
        self._tell("clear")

    def hits(self):
        """How many calls have failed or hung."""
        return int(self._tell("hits")[0])

    def close(self):
        self.process.stdin.close()
        self.process.wait(harness.DEADLINE_S)
        self.process.stdout.close()
        shutil.rmtree(self.root, ignore_errors=True)


def faulty_disk(test, writeback=False):
    made = FaultyDisk(writeback)
    test.addCleanup(made.close)
    return made
