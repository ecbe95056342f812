"""Sound: any container in, mono float32 at 16 kHz out; files, folders and manifests to records."""
