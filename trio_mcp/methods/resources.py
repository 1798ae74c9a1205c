"""Resources: listed, read, and subscribed to."""

from __future__ import annotations

import mcp_types as types

from ..features.response_cache import CacheMode
from .base import Requester, at

__all__ = ["ResourceMethods"]


class ResourceMethods(Requester):
    """The methods about resources (26/server/resources)."""

    async def list_resources(self, *, cache: CacheMode = "use") -> list[types.Resource]:
        """All resources, of all pages (26/server/resources)."""
        return await self._all_pages(self.list_resources_page, lambda page: page.resources, cache)

    async def list_resources_page(
        self, cursor: str | None = None, cache: CacheMode = "use"
    ) -> types.ListResourcesResult:
        """One page of resources; see `list_tools_page`."""
        return await self._cached("resources/list", at(cursor), types.ListResourcesResult, cache)

    async def list_resource_templates(self, *, cache: CacheMode = "use") -> list[types.ResourceTemplate]:
        """All resource templates, of all pages (26/server/resources, "Resource Templates")."""
        return await self._all_pages(
            self.list_resource_templates_page, lambda page: page.resource_templates, cache
        )

    async def list_resource_templates_page(
        self, cursor: str | None = None, cache: CacheMode = "use"
    ) -> types.ListResourceTemplatesResult:
        """One page of resource templates; see `list_tools_page`."""
        return await self._cached(
            "resources/templates/list", at(cursor), types.ListResourceTemplatesResult, cache
        )

    async def read_resource(self, uri: str, *, cache: CacheMode = "use") -> types.ReadResourceResult:
        """The contents of a resource (26/server/resources, "Reading Resources")."""
        return await self._cached("resources/read", {"uri": str(uri)}, types.ReadResourceResult, cache)

    async def subscribe_resource(self, uri: str) -> None:
        """Ask for `notifications/resources/updated` when a resource changes; `message_handler` gets them.

        Legacy versions only (2511/server/resources, "Subscriptions").

        Raises:
            UnsupportedFeature: the negotiated version has no such method.
        """
        await self.request("resources/subscribe", {"uri": str(uri)}, types.EmptyResult)

    async def unsubscribe_resource(self, uri: str) -> None:
        """End a subscription; see `subscribe_resource`."""
        await self.request("resources/unsubscribe", {"uri": str(uri)}, types.EmptyResult)
