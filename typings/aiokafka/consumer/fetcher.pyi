MemoryRecords: type
