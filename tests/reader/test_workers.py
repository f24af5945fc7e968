"""What travels between the reader's processes arrives as it left: otherwise a pool waits for ever."""
import os
import pickle
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from errors import ObError  # noqa: E402
from obcodec import PKey  # noqa: E402


class Travel(unittest.TestCase):
    def test_a_key_keeps_its_words(self):
        key = pickle.loads(pickle.dumps(PKey(1100611139453781, 0x10000001, 0x10000007)))
        self.assertIsInstance(key, PKey)
        self.assertEqual((key.table_id, key.part_id, key.assist), (1100611139453781, 0x10000001, 0x10000007))

    def test_an_error_keeps_its_number_and_place(self):
        error = pickle.loads(pickle.dumps(ObError(-4103, 'bad', 'data/1', 4096)))
        self.assertEqual((error.rc, error.text, error.path, error.offset), (-4103, 'bad', 'data/1', 4096))
        self.assertEqual(str(error), str(ObError(-4103, 'bad', 'data/1', 4096)))


if __name__ == '__main__':
    unittest.main()
