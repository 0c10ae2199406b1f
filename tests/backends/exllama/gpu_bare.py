"""Measure the speed of the bare generator on a model, and print it as JSON.

Usage: gpu_bare.py LIBRARY FOLDER TOKENS CONTEXT, in the engine's own interpreter. The settings are the same
as those of the lane in test_gpu.py. paragone is not imported.
"""

import json
import sys
import time

import torch


def exllamav2(folder, tokens, context):
    from exllamav2 import ExLlamaV2, ExLlamaV2Cache, ExLlamaV2Config, ExLlamaV2Tokenizer, attn
    from exllamav2.generator import ExLlamaV2DynamicGenerator, ExLlamaV2DynamicJob, ExLlamaV2Sampler

    config = ExLlamaV2Config(folder)
    config.max_seq_len = context
    config.arch_compat_overrides()
    model = ExLlamaV2(config)
    cache = ExLlamaV2Cache(model, max_seq_len=context, lazy=True)
    model.load_autosplit(cache)
    tokenizer = ExLlamaV2Tokenizer(config)
    generator = ExLlamaV2DynamicGenerator(
        model=model, cache=cache, tokenizer=tokenizer, max_batch_size=1, paged=attn.has_flash_attn_with_paged
    )
    generator.warmup()

    def job():
        return ExLlamaV2DynamicJob(
            input_ids=torch.tensor([list(b"Say it.")]),
            max_new_tokens=tokens,
            gen_settings=ExLlamaV2Sampler.Settings.greedy(),
        )

    return generator, job


def exllamav3(folder, tokens, context):
    from exllamav3 import Cache, Config, Generator, GreedySampler, Job, Model, Tokenizer

    config = Config.from_directory(folder)
    model = Model.from_config(config)
    cache = Cache(model, max_num_tokens=context, max_batch_size=1)
    model.load()
    tokenizer = Tokenizer.from_config(config)
    model.warmup(cache=cache, max_batch_size=1)
    generator = Generator(model=model, cache=cache, tokenizer=tokenizer, max_batch_size=1)

    def job():
        return Job(input_ids=torch.tensor([list(b"Say it.")]), max_new_tokens=tokens, sampler=GreedySampler())

    return generator, job


def measure(generator, job):
    generator.enqueue(job)
    first = last = 0.0
    count = 0
    while generator.num_remaining_jobs():
        for result in generator.iterate():
            if "token_ids" in result:
                last = time.monotonic()
                first = first or last
                count += result["token_ids"].shape[-1]
    return (count - 1) / (last - first)


if __name__ == "__main__":
    library, folder, tokens, context = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    generator, job = {"exllamav2": exllamav2, "exllamav3": exllamav3}[library](folder, tokens, context)
    print("RESULT " + json.dumps([measure(generator, job()) for _ in range(4)][1:]))
