"""Raw data, the register, and the first contract.

Revision ID: 0001
Revises:
"""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

HERE = Path(__file__).parent


def upgrade() -> None:
    # The driver itself takes a text of several statements, within SQLAlchemy's transaction.
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    for name in ("first_raw.sql", "first_api_v1.sql"):
        driver.execute((HERE / name).read_text())


def downgrade() -> None:
    raise NotImplementedError("there is no way back to before the data")
