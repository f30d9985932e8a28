from cramjam import lz4 as lz4
from cramjam import snappy as snappy
from cramjam import zstd as zstd

class DecompressionError(Exception): ...
