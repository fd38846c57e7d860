"""Benches whose answers are graded by a judge at an endpoint, in reading order.

- `bench`: questions out, answers in, verdicts, numbers with intervals
- `questions`: from a file or from the Hub
- `answers`: of all systems, kept as they come
- `pairwise`: grades of single answers, and duels in both orders
- `prompts`: what the judge is asked, and what its replies mean
- `leaderboard`: scores and win rates
"""
