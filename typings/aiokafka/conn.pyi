import ssl

class AIOKafkaConnection:
    async def connect(self) -> object: ...
    async def send(self, request: object) -> object: ...
    def close(self) -> object: ...

def collect_hosts(hosts: str, randomize: bool = True) -> list[tuple[str, int, int]]: ...
async def create_conn(
    host: str,
    port: int,
    *,
    client_id: str = ...,
    request_timeout_ms: int = ...,
    ssl_context: ssl.SSLContext | None = ...,
    security_protocol: str = ...,
    sasl_mechanism: str | None = ...,
    sasl_plain_username: str | None = ...,
    sasl_plain_password: str | None = ...,
) -> AIOKafkaConnection: ...
