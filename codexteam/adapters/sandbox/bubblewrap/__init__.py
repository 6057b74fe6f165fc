"""The embedded sandbox: bubblewrap, the kernel's namespaces and a system call filter, with no engine to install."""
