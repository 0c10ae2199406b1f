"""Test doubles of servers that load models on demand: llama-swap and LM Studio. Nothing is computed.

Each gives replies for `HostileServer`, by path. The replies follow llama-swap's internal/server/api.go, and LM Studio's
documentation of its REST API (https://lmstudio.ai/docs/developer/rest).
"""

import asyncio


class LoadingServer:
    """The models in memory, and what was asked."""

    def __init__(self, *models, loaded=(), most=9):
        """Create it with `loaded` in memory. `most` is the number of models that fit."""
        self.models = models or ("m", "n")
        self.loaded = list(loaded)
        self.most = most
        self.loading = []
        self.loads = []
        self.unloads = []
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.fails = False
        self.keeps = False
        """Whether it ignores requests to unload."""
        self.downloaded = []
        """The models that it was told to download."""
        self.downloads: list[dict[str, object]] = [{"status": "already_downloaded"}]
        """The states of the download that it reports, one after the other."""

    async def load(self, model):
        self.loads.append(model)
        self.loading.append(model)
        await self.may_load.wait()
        if model in self.loading:
            self.loading.remove(model)
            if not self.fails and model not in self.loaded:
                self.loaded = [*self.loaded, model][-self.most :]

    def unload(self, model):
        self.unloads.append(model)
        self.loading = [other for other in self.loading if other != model]
        if not self.keeps:
            self.loaded = [other for other in self.loaded if other != model]


class LlamaSwap(LoadingServer):
    """A test double of llama-swap."""

    @property
    def replies(self):
        listed = [{"id": model, "object": "model", "owned_by": "llama-swap"} for model in self.models]
        found = {"/v1/models": {"data": listed}, "/running": self.running}
        for model in self.models:
            found[f"/upstream/{model}/health"] = self.wake(model)
            found[f"/upstream/{model}/props"] = {
                "default_generation_settings": {"n_ctx": 2048},
                "chat_template": "{{ messages }}",
            }
            found[f"/api/models/unload/{model}"] = self.end(model)
        return found

    async def running(self, exchange):
        states = dict.fromkeys(self.loading, "starting") | dict.fromkeys(self.loaded, "ready")
        entries = [
            {"model": model, "state": state, "cmd": "llama-server -c 2048"} for model, state in states.items()
        ]
        await exchange.refuse(200, {"running": entries})

    def wake(self, model):
        async def reply(exchange):
            if model not in self.loaded:
                await self.load(model)
            if self.fails:
                await exchange.refuse(502, "unable to start process: upstream command exited prematurely")
            else:
                await exchange.refuse(404, {"error": "not found"})  # that of the model's server

        return reply

    def end(self, model):
        async def reply(exchange):
            self.unload(model)
            await exchange.refuse(200, "OK", "text/plain")

        return reply


class LmStudio(LoadingServer):
    """A test double of LM Studio 0.4."""

    @property
    def replies(self):
        return {
            "/v1/models": {"data": [{"id": model, "object": "model"} for model in self.models]},
            "/api/v0/models": {"data": [{"id": model} for model in self.models]},
            "/api/v1/models": self.described,
            "/api/v1/models/load": self.asked_to_load,
            "/api/v1/models/unload": self.asked_to_unload,
            "/api/v1/models/download": self.asked_to_download,
            "/api/v1/models/download/status/job_1": self.asked_for_download,
        }

    async def described(self, exchange):
        entries = [
            {
                "type": "llm",
                "key": model,
                "loaded_instances": [
                    {"id": model, "config": {"context_length": 4096}}
                    for other in self.loaded
                    if other == model
                ],
            }
            for model in self.models
        ]
        await exchange.refuse(200, {"models": entries})

    async def asked_to_load(self, exchange):
        model = exchange.request.body["model"]
        await self.load(model)
        if self.fails:
            error = {"message": "Failed to load model.", "type": "model_load_failed"}
            await exchange.refuse(500, {"error": error})
        else:
            await exchange.refuse(200, {"type": "llm", "instance_id": model, "status": "loaded"})

    async def asked_to_unload(self, exchange):
        self.unload(exchange.request.body["instance_id"])
        await exchange.refuse(200, {"instance_id": exchange.request.body["instance_id"]})

    async def asked_to_download(self, exchange):
        self.downloaded.append(exchange.request.body["model"])
        await self.asked_for_download(exchange)

    async def asked_for_download(self, exchange):
        state = self.downloads.pop(0)
        if "error" in state:
            await exchange.refuse(404, state)
        else:
            await exchange.refuse(200, state)
