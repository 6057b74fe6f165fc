"""How runs are shown in a pipeline: groups in its log, annotations, a summary beside the job, and files it keeps."""
