"""The host of whichever model is selected now: what the front holds while models come and go.

A :class:`~coder_lsp.host.supervisor.HostSupervisor` serves one model with one set of settings. Settings change while an
editor runs, a model may not be pulled yet, another may be chosen; this class turns each of that into a status the user
sees and a request that is answered, and keeps the supervisor of the day behind the same two faces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coder_lsp.errors import CoderLspError, HostUnavailable
from coder_lsp.host.supervisor import HostSupervisor
from coder_lsp.types import HostState, HostStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from coder_lsp.config import Config
    from coder_lsp.host.protocol import HostSettings
    from coder_lsp.types import AskRequest, FimRequest, FimResult, PromptPreview, TextSink


class SelectedHost:
    """A :class:`~coder_lsp.types.FimBackend` and the host controls of the server, for one changing selection.

    ``settings_of`` makes the host settings of a configuration; it raises :class:`CoderLspError` (a model that is not
    installed, say), which becomes the status.
    """

    def __init__(
        self, settings_of: Callable[[Config], HostSettings], on_status: Callable[[HostStatus], None] = lambda _: None
    ) -> None:
        self._settings_of = settings_of
        self._on_status = on_status
        self._config: Config | None = None
        self._settings: HostSettings | None = None
        self._supervisor: HostSupervisor | None = None
        self._status = HostStatus(HostState.STOPPED)

    @property
    def status(self) -> HostStatus:
        return self._status

    async def configure(self, config: Config) -> None:
        """Serve the model of ``config`` from now on; a host that runs another one is left to its other windows.

        :raises CoderLspError: that model cannot be served; it is the status too.
        """
        self._config = config
        started = self._supervisor is not None
        await self._select()
        if started and self._supervisor is not None:
            await self._supervisor.start()

    async def start(self) -> None:
        """Have a host running with its model loaded, before anyone asks for a suggestion.

        :raises CoderLspError: as :meth:`configure`.
        """
        await self._select()
        assert self._supervisor is not None
        await self._supervisor.start()

    async def restart(self) -> None:
        """End the host process and start it anew, with the model file and settings of now."""
        before = self._supervisor
        await self._select()
        assert self._supervisor is not None
        if self._supervisor is before:
            await self._supervisor.restart()
        else:
            await self._supervisor.start()

    async def stop(self) -> None:
        """Let go of the host; it is shared and ends by itself."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            await supervisor.stop()

    async def info(self) -> Mapping[str, Any]:
        return {} if self._supervisor is None else await self._supervisor.info()

    async def complete(self, request: FimRequest, on_text: TextSink | None = None) -> FimResult:
        """As :meth:`HostSupervisor.complete`.

        :raises CoderLspError: nothing can be served; the cause is looked at anew each time, it may be gone by now (the
            model was pulled meanwhile), and looking costs a few file reads.
        """
        return await (await self._supervising()).complete(request, on_text)

    async def ask(self, request: AskRequest, on_text: TextSink | None = None) -> FimResult:
        """As :meth:`HostSupervisor.ask`; errors as :meth:`complete`."""
        return await (await self._supervising()).ask(request, on_text)

    async def warm(self, request: FimRequest) -> None:
        """As :meth:`HostSupervisor.warm`."""
        if self._supervisor is not None:
            await self._supervisor.warm(request)

    async def preview(self, request: FimRequest) -> PromptPreview:
        """As :meth:`HostSupervisor.preview`."""
        return await (await self._supervising()).preview(request)

    async def _supervising(self) -> HostSupervisor:
        if self._supervisor is None:
            await self._select()
        assert self._supervisor is not None
        return self._supervisor

    async def _select(self) -> None:
        """Have the supervisor of the present configuration.

        :raises CoderLspError: it cannot be served.
        """
        if self._config is None:
            raise HostUnavailable("no settings have arrived yet")
        try:
            settings = self._settings_of(self._config)
        except CoderLspError as error:
            await self.stop()
            self._publish(HostStatus(HostState.ERROR, model=self._config.model, message=str(error)))
            raise
        if self._supervisor is not None and settings == self._settings:
            return
        await self.stop()
        self._settings = settings
        self._supervisor = HostSupervisor(settings, self._publish)

    def _publish(self, status: HostStatus) -> None:
        self._status = status
        self._on_status(status)
