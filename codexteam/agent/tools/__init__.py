"""What an agent may do: Codex's tools, and the MCP tools of its role."""
