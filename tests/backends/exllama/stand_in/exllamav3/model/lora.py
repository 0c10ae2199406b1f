class LoRA:
    @staticmethod
    def from_directory(model, directory, lora_scaling=1.0):
        return LoRA()
