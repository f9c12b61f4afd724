"""A gRPC client that knows nothing but the server's address: it learns the contract through reflection.

    grpc_client.py ADDRESS KEY TENANT RECEIVER_URL COUNT

Creates an endpoint for the receiver, publishes COUNT events, watches their deliveries until all have succeeded, and prints
`{"endpoint", "signing_secret", "events"}`. Ends with 1 when a delivery ends otherwise or the watch falls silent.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

DEADLINE_SECONDS = 30


class Gatepost:
    """Calls any RPC of the server by its name, with messages built from reflection."""

    def __init__(self, address, key):
        self.channel = grpc.insecure_channel(address)
        database = ProtoReflectionDescriptorDatabase(self.channel)
        self.services = database.get_services()
        self.pool = descriptor_pool.DescriptorPool(database)
        self.metadata = (("authorization", f"Bearer {key}"),)

    def message(self, name, **fields):
        descriptor = self.pool.FindMessageTypeByName(f"gatepost.v1.{name}")
        return message_factory.GetMessageClass(descriptor)(**fields)

    def call(self, service, method, request):
        """The answer of a unary RPC, or the iterator of a streaming one."""
        descriptor = self.pool.FindServiceByName(f"gatepost.v1.{service}").FindMethodByName(method)
        kind = self.channel.unary_stream if descriptor.server_streaming else self.channel.unary_unary
        answer = message_factory.GetMessageClass(descriptor.output_type)
        rpc = kind(
            f"/gatepost.v1.{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return rpc(request, metadata=self.metadata, timeout=DEADLINE_SECONDS)


def main(address, key, tenant, receiver, count):
    gatepost = Gatepost(address, key)
    missing = {"gatepost.v1.EventService", "grpc.health.v1.Health"} - set(gatepost.services)
    if missing:
        sys.exit(f"reflection does not list {missing}")
    parent = f"tenants/{tenant}"
    endpoint = gatepost.call(
        "EndpointService",
        "CreateEndpoint",
        gatepost.message(
            "CreateEndpointRequest",
            parent=parent,
            endpoint=gatepost.message("Endpoint", url=receiver, event_types=["user.*"]),
        ),
    )
    filter = f'endpoint == "{endpoint.name}"'
    watch = gatepost.call("DeliveryService", "WatchDeliveries", gatepost.message("WatchDeliveriesRequest", parent=parent, filter=filter))
    if not next(watch).checkpoint:
        sys.exit("the first message of a watch is not a checkpoint")

    waiting = set()
    for number in range(count):
        data = json.dumps({"user": {"id": f"usr_py_{number}", "family_name": "Müller"}}).encode()
        request = gatepost.message("PublishEventRequest", parent=parent, type="user.created", data=data)
        waiting.add(gatepost.call("EventService", "PublishEvent", request).event)
    events = sorted(waiting)

    states = gatepost.pool.FindEnumTypeByName("gatepost.v1.Delivery.State").values_by_number
    for message in watch:
        for change in message.changes:
            state = states[change.delivery.state].name
            if state in ("STATE_DEAD", "STATE_CANCELLED"):
                sys.exit(f"{change.delivery.name} is {state}")
            if state == "STATE_SUCCEEDED":
                waiting.discard(change.delivery.event)
        if not waiting:
            break
    watch.cancel()
    print(json.dumps({"endpoint": endpoint.name, "signing_secret": endpoint.signing_secret, "events": events}))


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:5], int(sys.argv[5]))
