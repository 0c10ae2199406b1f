def cuda_sync_active():
    pass
