"""Workers of a Ray cluster: the port `Workers`. `ray` is imported only when it is used (`codexteam[ray]`).

An agent is one task that takes one `sandbox_slots` of a node. What it says comes as a stream that the task yields; what it
is told lies in a letter box, an actor beside the run, until it takes it. Both carry bytes that only we read and write, so
that nothing of ours has to be known by Ray's own processes.
"""
