"""The Responses API, over the `openai` package."""
