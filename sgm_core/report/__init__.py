"""Pictures, leaderboards, reports and model cards.

Nothing is imported here: an evaluation depends on `report.figures` and what that imports, and an
edit of the leaderboard or of the HTML page must not count as an edit of the evaluation.
"""
