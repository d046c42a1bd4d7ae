"""Programs that a model writes, judged by running them: HumanEval and its relatives, MBPP, LeetCode, DS-1000, maths."""
