"""Git: from a sandbox's hostile pack to one ref in the user's repository.

Three places hold a repository, and no two of them are ever mixed:

- *The user's* (`location`, `facts`, `checkout`) is read with a neutral git. `fetch` takes objects out of it; `landing`
  puts objects and one ref under codexteam's prefix in, and nothing else. Index, work tree, HEAD, configuration and hooks
  stay as they are. The one exception is `apply`, which people ask for: a merge by the user's own git.
- *The hub* (`hub`, `merge`, `objects`), a bare repository in the state folder, is written by codexteam alone. Every
  commit in it is either the user's or made here (`merge.make_commit`); attempts are merged as objects, without a work
  tree, a driver or a hook.
- *The sandbox's copy* begins as `base` (with `untracked`: ignored files that were asked for, LFS, submodules) makes it.
  After an agent's first command it is hostile. The host never opens it; work comes out as a pack.

How work comes in (`intake`; each step refuses with a reason, and nothing is kept of what is refused):

1. *Quarantine*: the pack is indexed strictly, under limits of size, time and memory, in a repository of its own that
   reads the hub's objects and is deleted afterwards. Its tip must be a commit on top of the attempt's base.
2. *Walk*: the trees are counted, each unique one once, before anything follows paths: a pack of 867 bytes can hold ten
   billion files. Modes are checked as they are stored.
3. *Policy*: what differs from the base is judged over raw bytes. Kinds, names, siblings that one file system takes for
   the same file, links, guarded paths, and the task's own paths.
4. *Content*: of the lines that are new none may hold a credential or an invisible
   character.
5. *Migrate*: the objects that the tree needs, and no others, are copied into the hub. The agent's commit is dropped;
   codexteam makes one of its own around the tree.

What must hold:

- There is one way to call git (`runner`): behind `env -i`, without system and user configuration, hooks, attributes,
  filters, pagers, prompts, replacements or lazy fetches, with a deadline, a cap on output and limits on resources.
- Everything may be repeated after a crash with the same result: commits are made from the same bytes, refs are moved by
  compare and swap, files get their names by a rename.
- Work is never lost: a snapshot that was refused or left behind is kept (`saved_snapshots`) and archived before
  `cleanup` removes a run.
- The shape of every pack from the user's repository is said here (`fetch.pack_request`), so that shallow and partial
  clones are never asked for what they do not have.

`repo` is the port `Repo` over all of this: asynchronous, with blocking work in threads. `history_view` and `diff_text`
show commits to people and to judges.
"""
