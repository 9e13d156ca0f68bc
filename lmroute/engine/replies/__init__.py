"""Answers that look fine and are not: successes that are errors, errors in odd shapes, texts in the wrong field.

Whatever comes in, DSPy's engine gets it in the shape that it reads, or an error that says what is wrong.
"""

from lmroute.engine.replies.frames import MAX_LINE, Frames
from lmroute.engine.replies.mending import Mending
from lmroute.engine.replies.whole import MAX_REPLY, settle

__all__ = ["MAX_LINE", "MAX_REPLY", "Frames", "Mending", "settle"]
