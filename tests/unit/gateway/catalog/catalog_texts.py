"""A small valid catalog, and ways to break it."""

from lockgate.contract.drivers import declarations
from lockgate.gateway.catalog.errors import CatalogErrors
from lockgate.gateway.catalog.load import load_texts
from lockgate.gateway.catalog.model import Catalog

ACTION = """\
apiVersion: lockgate/v1
kind: Action
metadata:
  name: restart
spec:
  title: Restart
  description: Restarts a service.
  effect: change
  risk: low
  targets: {names: [web]}
  driver: runbook
  entry: restart
  arguments:
    type: object
    required: [service]
    properties:
      service: {type: string, maxLength: 40, pattern: "^[a-z]+$"}
      password: {type: string, maxLength: 100, x-sensitive: true}
      ports: {type: array, maxItems: 3, items: {type: integer, minimum: 1}}
      options:
        type: object
        properties:
          mode: {enum: [fast, slow]}
  variables: {service: service, secret: password, ports: ports, options: options}
"""

TARGET = """\
apiVersion: lockgate/v1
kind: Target
metadata:
  name: web
  labels: {tier: web}
spec:
  driver: runbook
  source: web
  environment: staging
  region: local
"""


def load(action: str = ACTION, target: str = TARGET) -> Catalog:
    return load_texts({"actions.yaml": action.encode(), "targets.yaml": target.encode()}, declarations())


def refusals(action: str = ACTION, target: str = TARGET) -> list[str]:
    try:
        load(action, target)
    except CatalogErrors as errors:
        return [str(error) for error in errors.errors]
    return []


def edited(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)
