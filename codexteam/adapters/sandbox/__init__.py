"""Sandboxes: where commands run that nobody trusts, with a copy of the repository that they may spoil.

Two engines implement one port. `docker` starts containers on one or several engines, `bubblewrap` process trees in the
kernel's namespaces, with nothing to install. What is the same for both lies here: the program inside (`server`, packed
by `program`), the channel to it (`channel`, `protocol`), and the port over that channel (`channel_sandbox`).

From a commit to a sandbox
    1. *Base.* `prepare` checks the run's root commit out, once per engine, by git inside a sandbox of its own: attributes
       and filters of a repository never act on the host. The finished checkout is *sealed*: every file gets one old time,
       in the index too, so that no copy of it is ever read again to compare. It counts once it is whole (a rename, or an
       empty volume as its mark) and is read-only from then on. Its key holds all that it was made of: commit, ignored
       files that were copied in and, in Docker, the image and the program's hash.
    2. *Overlay.* A workspace is a copy-on-write layer of limited size over that checkout: an overlay whose upper part is
       a memory file system. Root's layers are made with `redirect_dir`, or folders of the checkout could not be renamed;
       where no layer works the checkout is copied, if it is small.
    3. *Start.* The server is the first process of the sandbox's PID namespace. What it says when it is up (user,
       capabilities, filter) is compared with what was asked for; a sandbox that is more open than that is not used.
    4. *Populate.* Packs bring the checkout to the task's commit, and to an earlier snapshot where there is one. `begin`
       then makes the server's own git folder, and is the last step before an agent's first command.

Environments
    A set-up has a checkout of its own, writable like `HOME` and the package caches, and the network of registries. At its
    end the server's job `take_layer` puts aside what git does not track; the rest of the checkout is thrown away. Only what
    is whole gets the key's name. `lay_layer` tells a base of the layer (`info/exclude`, times of files), and workspaces
    show it: copied into the base on Docker, as one more read-only layer beneath it on bubblewrap, so that what a commit
    tracks always counts. A claim is a lock of the system on a file: it ends with its process.

A sandbox at work
    Requests and answers are frames over the server's standard streams; no port is open and no path is shared. The channel
    gives up when the server does not answer in time or breaks the protocol. Then `ChannelSandbox` starts the server again
    over the same workspace and says so with the next result. A command whose end was not seen is reported as unknown and
    never repeated. After each turn that wrote, `snapshot` takes the work out as a pack; the git adapter judges it.

What must hold
    - Everything that the server says is a claim of hostile origin: sizes are limited and texts cleaned where people see
      them. What a command ended with is the server's own observation, out of the commands' reach.
    - No key, no engine socket and no writable path of the host is inside. The way out is none, or `network`: a relay
      inside, a proxy outside that decides by name and by address, or the whole network where the user asked for it.
    - Memory, processes, CPU, disk and output have limits. What cannot be limited on this machine is said in the facts.
    - A start that is cancelled or fails leaves nothing behind, at whatever step.

Sweeping
    All that is made on an engine carries its owner (a state folder) and its run in its name or labels, computed and never
    drawn. So `sweep` finds what a killed process left, and another codexteam on the same machine keeps its own. Sandboxes
    that a run still needs are named to it; checkouts in use are held by a lock or by their container.
"""
