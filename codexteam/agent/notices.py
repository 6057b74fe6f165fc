"""What an agent is told between its turns."""

CUT_SHORT = "Your last answer was cut off at the output limit, and nothing of it was done. Do less in one answer."
LAST_TURN = "This is your last turn: no tool call of it will run. Give your final answer now."
HAND_OVER = (
    "The budget for this work is used up. This is your last call, and no tool call of it will run. Give your final "
    "answer now: what is done, what is not, and what whoever goes on must know."
)
NOT_RUN = "Not run: the budget was used up."
GO_ON = "There is budget again. Go on from where you were."
MESSAGE = "A message from the people you work for:\n"
