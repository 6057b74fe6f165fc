"""The user's own Codex as the engine of agents: `codex app-server` on the host, `codex exec-server` in each sandbox.

The app-server (`app_server`) has the sign-in, asks the model and keeps the threads; it runs once, in the user's
`CODEX_HOME`, and nothing of it enters a sandbox. What a thread does to files and processes goes through its
*environment*: a websocket on loopback (`hands`) that we join to an exec-server inside the agent's sandbox, over the
sandbox's own channel. No port is open in the sandbox, no credential is inside, and no route leads from it to the
app-server but the answers on that channel.

What must hold
    - Nothing is done in a workspace while our loop has not asked for it: requests that may write wait in `hands` until
      `outputs` is called. So each turn is stored, with its snapshot, before the next one's first command.
    - What a thread knows is what is stored: a resumed agent gets a new thread whose history is its stored transcript
      (`thread/inject_items`), never a thread that knows of work that is nowhere.
    - Usage comes from the app-server's running total; what it used besides answers (to make its own history shorter)
      is added to the next answer. Codex sends the next request when the last call of an answer is done, which is before
      that request is reserved: a budget can be passed by the requests on their way, at most one of each agent.
"""
