"""Write stand-ins for the GPU libraries that a CUDA build of torch is linked against.

`import torch` fails unless the dynamic loader finds each of these libraries (4 GB together) and each function that
torch takes from them, though a process without a GPU never calls one. A stand-in is an empty library of the same name;
the functions are all in one library behind them, and calling one ends the process with a message. Libraries that are
installed are left alone, in particular the small CUDA runtime: that one torch does call, to learn that there is no GPU.

    python stub_gpu_libraries.py TORCH_LIBRARY_FOLDER     (x86-64; needs as, ld and ldd)
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

#: Everything that torch loads is loaded with this library.
ROOT_LIBRARY = "libtorch_python.so"

FUNCTIONS_LIBRARY = "libabsent_gpu.so"

#: Each absent function is another name of this one.
ABSENT_FUNCTION = """
    .section .rodata
message:
    .asciz "A GPU library was called, but this image is for CPUs only."
    .text
absent:
    sub $8, %rsp
    lea message(%rip), %rdi
    call puts@plt
    xor %edi, %edi
    call fflush@plt
    call abort@plt
    .section .note.GNU-stack
"""


def missing_libraries(folder: Path) -> list[str]:
    """Names of the libraries that torch is linked against and the loader does not find."""
    listing = _output("ldd", str(folder / ROOT_LIBRARY))
    return sorted(set(re.findall(r"^\s*(\S+) => not found", listing, re.MULTILINE)))


def missing_functions(folder: Path) -> list[str]:
    """Names of the functions that are in no library which the loader finds, Python's own left out."""
    listing = _output("ldd", "-r", str(folder / ROOT_LIBRARY))
    names = set(re.findall(r"undefined symbol: ([^\s,]+)", listing))
    return sorted(name for name in names if not name.startswith(("Py", "_Py")))


def write_stand_ins(folder: Path) -> list[str]:
    """Write the stand-ins into torch's library folder and return the names of the libraries they stand for."""
    libraries = missing_libraries(folder)
    with tempfile.TemporaryDirectory() as scratch:
        empty = _assemble("", Path(scratch, "empty.o"))
        for library in libraries:
            _link(folder / library, empty)
        aliases = [f".globl {name}\n.type {name}, @function\n.set {name}, absent" for name in missing_functions(folder)]
        functions = _assemble(ABSENT_FUNCTION + "\n".join(aliases) + "\n", Path(scratch, "functions.o"))
        _link(folder / FUNCTIONS_LIBRARY, functions)
        for library in libraries:
            _link(folder / library, empty, folder / FUNCTIONS_LIBRARY)
    return libraries


def _assemble(source: str, target: Path) -> Path:
    subprocess.run(["as", "-o", target, "-"], input=source, text=True, check=True)
    return target


def _link(target: Path, *parts: Path) -> None:
    subprocess.run(["ld", "-shared", "-soname", target.name, "-rpath", "$ORIGIN", "-o", target, *parts], check=True)


def _output(*command: str) -> str:
    """What a command says, errors included: ldd -r reports undefined symbols on either stream."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout


if __name__ == "__main__":
    print("stand-ins for:", *write_stand_ins(Path(sys.argv[1])))
