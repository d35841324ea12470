"""The cohort index: every holding by what may be asked for and by what rules can tell it by, in memory.

The rules it keeps: it answers under the version of the facts it was read at, or says that it cannot; what
changed since is read anew, donor by donor, from the rows; a dated fact (an age, an expiry) is compared with its
day, and whoever's turns is read anew when the day moves on. It holds no name and no code; donors' ids it keeps
to find their rows. Nothing leaves the bank on it alone: what is picked is found again in the database first.
"""
