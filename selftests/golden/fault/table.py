# SPDX-License-Identifier: GPL-2.0
"""The table of faults; see faults.py for its columns."""

FAULTS = []


class Fault:
    def __init__(self, name, base, damage, sentence, show, eio, args, main,
                 line):
        self.name, self.base, self.damage = name, base, damage
        self.sentence, self.show, self.eio = sentence, show, eio
        self.args, self.main, self.line = args, main, line


def fault(name, base, damage, sentence="", show="open", eio=None, args=(),
          main=None, line=None):
    """SENTENCE: <X> in it is worked out from the places AT in the image."""
    FAULTS.append(Fault(name, base, damage, sentence, show, eio, args, main,
                        line))


def group(base, show, rows, **more):
    for name, damage, sentence, *eio in rows:
        fault(base + ": " + name, base, damage, sentence, show,
              eio[0] if eio else None, **more)


UNKNOWN = "Unknown format (-f raw if it is raw)"
NOT_CLOSED = "Image was not closed, check it first: 0"
TWICE = "is in the chain twice"
