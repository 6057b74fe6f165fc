variable "image" {
  description = "The sandboxes' image: bash, git, python3 (3.7 or later) and what your tests need."
  type        = string
}

variable "runtime_class" {
  description = "The RuntimeClass that confines sandboxes, such as gvisor or kata; empty: the node's own runtime."
  type        = string
  default     = "gvisor"
}

variable "warm_sandboxes" {
  description = "How many sandboxes of each pool wait, started."
  type        = number
  default     = 2
}
