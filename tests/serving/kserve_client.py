"""Ask a server with KServe's own client, in an environment that has it: ADDRESS TOKEN TEXTS."""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def main(address: str, token: str, texts: list[str]) -> None:
    """Ask everything that the client can, and print what it understood."""
    headers = {"Authorization": f"Bearer {token}"}
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        told = {
            "live": await client.is_server_live(address, headers=headers),
            "ready": await client.is_server_ready(address, headers=headers),
            "model": await client.is_model_ready(address, "spam", headers=headers),
            "unknown": await client.is_model_ready(address, "ham", headers=headers),
        }
        answer = await client.infer(address, request(texts, binary=False), model_name="spam", headers=headers)
        told["name"] = answer.model_name
        for name in ("classification", "probability", "model_version"):
            values = answer.get_output_by_name(name).as_numpy().tolist()
            told[name] = [value.decode() if isinstance(value, bytes) else value for value in values]
        try:
            await client.infer(address, request(texts, binary=True), model_name="spam", headers=headers)
        except httpx.HTTPStatusError as error:
            told["refused"] = str(error)
    print(json.dumps(told))


def request(texts: list[str], *, binary: bool) -> InferRequest:
    """Make a request as the client's documentation does."""
    given = InferInput("text", [len(texts)], "BYTES")
    given.set_data_from_numpy(np.array(texts, dtype=np.object_), binary_data=binary)
    return InferRequest("spam", [given])


asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
