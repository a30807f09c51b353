"""Tables: collections that are kept by what changes. Tables of rows, and folds over members.

A *collection* is either. `table` and `fold` are what users define, with `lookup` and `accumulate`; `collect`
brings a collection up to date (`kept_table`, `kept_fold`); `log` and `changes` tell consumers what came and
went.
"""
