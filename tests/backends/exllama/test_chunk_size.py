"""The number of prompt tokens processed at once."""

import pytest

from paragone_exllama.inference import ChunkSize


@pytest.mark.parametrize(
    ("tokens_a_second", "chunk"), [(1_000, 256), (10_000, 512), (30_000, 1792), (10**6, 2048)]
)
def test_a_chunk_takes_no_longer_than_a_stop_should(tokens_a_second, chunk):
    chunk_size = ChunkSize(2048, fixed=False)
    assert chunk_size.chunk == 512
    for _ in range(4):
        chunk_size.learn(chunk_size.chunk, chunk_size.chunk / tokens_a_second)
    assert chunk_size.chunk == chunk
    assert chunk == 256 or chunk / tokens_a_second <= 0.06


def test_short_chunks_do_not_change_the_size():
    chunk_size = ChunkSize(2048, fixed=False)
    chunk_size.learn(10, 3.0)
    chunk_size.learn(512, 0.0)
    assert chunk_size.chunk == 512
    assert ChunkSize(256, fixed=False).chunk == 256
